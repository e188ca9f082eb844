"""A run whose task is cancelled, as when a loop goes down, is a stop, wherever it is just then."""

import asyncio

import pytest

from awfe import Engine, Retry, StepError, WorkflowStopped
from awfe.execution.runner import Run
from awfe.persistence.transaction import Transaction
from tests.conformance.conftest import QUICK, OpenEngine
from tests.conformance.steps import Flaky, Hold, World
from tests.conformance.transactional_steps import Pay, commits_of_steps_deadlock, make_table, paid
from tests.databases import Database


def _run(engine: Engine, name: str = "w") -> Run:
    run = engine._steering.control.get(name)
    assert run is not None
    return run


async def test_in_line_it_leaves_the_line(open_engine: OpenEngine, world: World) -> None:
    engine = await open_engine(max_running=1)
    for name in ("first", "second", "third"):
        await engine.create_workflow(name, {}, [Hold(name)])
    first = await engine.start("first")
    await world.entered["first"].wait()
    second = await engine.start("second")
    _run(engine, "second").task.cancel()
    with pytest.raises(WorkflowStopped, match="cancelled before it began"):
        await second
    third = await engine.start("third")
    await asyncio.sleep(0.05)
    assert world.calls == ["first"], "the place of the first is nobody else's"
    world.gates["first"].set()
    world.gates["third"].set()
    await first
    await third
    world.gates["second"].set()
    assert (await engine.run("second")).state == "completed"


async def test_before_a_retry_there_is_none(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Flaky("one", 1).using(retry=Retry(attempts=2, wait=9))])
    handle = await engine.start("w")
    run = _run(engine)
    async with asyncio.timeout(30):
        while run.head.due_at is None:
            await asyncio.sleep(0)
    run.task.cancel()
    with pytest.raises(WorkflowStopped):
        await handle
    assert world.calls == ["one"]
    assert (await engine.get("w")).state == "stopped"
    assert (await engine.restart("w")).state == "completed"


async def test_between_two_transactions_of_a_step_there_is_no_second(
    database: Database, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("awfe.execution.transactional._FIRST_PAUSE", 3_600.0)
    caplog.set_level("INFO", "awfe")
    await make_table(database)
    engine = Engine(database.url, **QUICK)
    deadlocks = commits_of_steps_deadlock(engine)
    async with engine:
        await engine.create_workflow("w", {}, [Pay("one")])
        handle = await engine.start("w")
        async with asyncio.timeout(30):
            while "is done again" not in caplog.text:
                await asyncio.sleep(0.01)
        _run(engine).task.cancel()
        with pytest.raises(WorkflowStopped):
            await handle
        deadlocks.heal()
        assert await paid(database) == []
        assert (await engine.restart("w")).state == "completed"
    assert await paid(database) == ["one"]
    assert world.calls == ["one 1", "one 2"]


async def test_a_loop_that_goes_down_while_the_transaction_of_a_step_ends(
    engine: Engine, database: Database, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came of the attempt is saved all the same, and the step does not run again."""
    real = Transaction.end
    tasks: list[asyncio.Task[None]] = []

    async def end(self: Transaction) -> None:
        run = engine._steering.control.get("w")
        if not tasks and run is not None:
            tasks.append(run.task)
            run.task.cancel()
            await asyncio.sleep(0)
        await real(self)

    await make_table(database)
    monkeypatch.setattr(Transaction, "end", end)
    world.failing["one"] = ValueError("no")
    await engine.create_workflow("w", {}, [Pay("one")])
    handle = await engine.start("w")
    with pytest.raises(StepError, match="no"):
        await handle
    assert len(tasks) == 1
    assert ((await engine.get("w")).state, world.calls, await paid(database)) == ("error", ["one 1"], [])
