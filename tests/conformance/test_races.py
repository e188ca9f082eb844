"""What comes at an awkward moment: right after a start, in the middle of a close, twice in a row."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from awfe import (
    BaseStep,
    Context,
    Engine,
    Event,
    LockLost,
    StepError,
    WorkflowHalted,
    WorkflowPaused,
    WorkflowStopped,
    step,
)
from tests.conformance.conftest import QUICK, OpenEngine
from tests.conformance.steps import Hold, Note, Rerun, World
from tests.databases import Database


@pytest.mark.parametrize("verb", ["pause", "stop", "delete", "update_context", "skip"])
async def test_a_verb_right_after_a_start_in_line_does_not_wait_for_its_turn(
    open_engine: OpenEngine, world: World, verb: str
) -> None:
    engine = await open_engine(max_running=1)
    for name in ("first", "second"):
        await engine.create_workflow(name, {}, [Hold(name), Note("after")])
    first = await engine.start("first")
    await world.entered["first"].wait()
    second = await engine.start("second")
    arguments: dict[str, Any] = {"update_context": [{"a": 1}]}
    async with asyncio.timeout(20):
        await getattr(engine, verb)("second", *arguments.get(verb, []))
    assert not world.entered["second"].is_set()
    world.gates["first"].set()
    world.gates["second"].set()
    await first
    with suppress(Exception):
        await second


async def test_closing_begins_nothing_that_was_not_begun(database: Database, world: World) -> None:
    async with Engine(database.url, **QUICK) as engine:
        await engine.create_workflow("w", {}, [Hold("one")])
        handle = await engine.start("w")
    with pytest.raises(WorkflowPaused):
        await handle
    assert world.calls == []
    async with Engine(database.url) as engine:
        assert (await engine.get("w")).state == "pending"


async def test_a_step_that_was_cut_off_before_its_first_line_may_be_run_again(
    database: Database, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim that takes longer than the grace."""
    settings: Any = QUICK | {"shutdown_grace": 0.0}
    async with Engine(database.url, **settings) as engine:
        await engine.create_workflow("w", {}, [Note("one"), Note("two")])
        real = engine._writes.claim

        async def slow(*args: Any, **kwargs: Any) -> Any:
            found = await real(*args, **kwargs)
            await asyncio.sleep(0.3)
            return found

        monkeypatch.setattr(engine._writes, "claim", slow)
        handle = await engine.start("w")
        while (await engine.get("w")).state == "pending":
            await asyncio.sleep(0.01)
    with pytest.raises(WorkflowPaused):
        await handle
    assert world.calls == []
    async with Engine(database.url) as engine:
        assert (await engine.get("w")).steps[0].state == "pending"
        assert (await engine.recover()).started == ("w",)
        assert (await engine.wait("w")).state == "completed"


async def test_a_run_that_is_cancelled_before_its_first_line_comes_to_rest(open_engine: OpenEngine) -> None:
    engine = await open_engine(max_running=1)
    await engine.create_workflow("w", {}, [Note("one")])
    handle = await engine.start("w")
    run = engine._steering.control.get("w")
    assert run is not None
    assert run.task is not None
    run.task.cancel()
    with pytest.raises(WorkflowStopped):
        await handle
    assert (await engine.run("w")).state == "completed"


async def test_await_of_a_handle_while_the_engine_closes_gives_the_result(database: Database, world: World) -> None:
    async with Engine(database.url) as engine:
        await engine.create_workflow("w", {}, [Hold("one")])
        handle = await engine.start("w")

        async def result() -> Any:
            return await handle

        waiting = asyncio.create_task(result())
        await world.entered["one"].wait()
        asyncio.get_running_loop().call_later(0.05, world.gates["one"].set)
    assert (await waiting).state == "completed"


async def test_a_stop_whose_grace_ran_out_leaves_no_owner(engine: Engine, world: World, database: Database) -> None:
    @step
    async def slow_to_end(_ctx: Context) -> None:
        World.now.entered["slow"].set()
        try:
            await asyncio.sleep(3600)
        finally:
            await World.now.gates["slow"].wait()

    await engine.create_workflow("w", {}, [slow_to_end()])
    handle = await engine.start("w")
    await world.entered["slow"].wait()
    await engine.stop("w", 0.05)
    with pytest.raises(WorkflowStopped):
        await handle
    world.gates["slow"].set()
    async with asyncio.timeout(20):
        while engine._steering.control.get("w") is not None:
            await asyncio.sleep(0.01)
    assert await database.execute("SELECT owner FROM awfe_workflow") == [(None,)]


async def test_a_longer_grace_counts_from_the_second_stop(engine: Engine, world: World) -> None:
    @step
    async def cleans_up(ctx: Context) -> None:
        World.now.entered["begun"].set()
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(2.5)
            ctx["cleaned"] = True
            World.now.cleaned.append("up")

    await engine.create_workflow("w", {}, [cleans_up()])
    handle = await engine.start("w")
    await world.entered["begun"].wait()
    await engine.stop("w", 2.0)
    await engine.stop("w", 60)
    with pytest.raises(WorkflowStopped):
        await handle
    assert world.cleaned == ["up"]
    assert (await engine.get("w")).steps[0].changes.set == {"cleaned": True}


class Leaving(BaseStep, name="tests.Leaving"):
    """Leaves a task behind, which keeps its context."""

    async def work(self, ctx: Context) -> None:
        """Leave it."""

        async def late() -> None:
            await World.now.entered["two"].wait()
            ctx["v"] = "of an older step"
            try:
                await ctx.checkpoint()
            except LockLost as error:
                World.now.failing["late"] = error
            World.now.gates["two"].set()

        World.now.left = asyncio.create_task(late())  # type: ignore[attr-defined]  # kept so that it lives


async def test_a_checkpoint_of_an_older_step_is_refused(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Leaving, Hold("two", {}, {"v": "mine"})])
    workflow = await engine.run("w")
    assert workflow.context == {"v": "mine"}
    assert isinstance(world.failing["late"], LockLost)


async def test_what_an_operator_halts_is_not_taken_up_after_a_shutdown(database: Database, world: World) -> None:
    async with Engine(database.url, shutdown_grace=0.05) as engine:
        await engine.create_workflow("w", {}, [Rerun("one")])
        await engine.start("w")
        await world.entered["one"].wait()
    async with Engine(database.url) as engine:
        await engine.pause("w", actor="ops", reason="not tonight")
        assert (await engine.get("w")).state == "paused"
        assert (await engine.recover()).started == ()
        assert [e.reason for e in await engine.history("w") if e.actor] == ["not tonight"]
        world.gates["one"].set()
        assert (await engine.run("w")).state == "completed"


async def test_one_that_is_deleted_does_not_disturb_the_recovery_of_others(
    open_engine: OpenEngine, world: World, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = await open_engine(shutdown_grace=0.1, stop_grace=0.1, db_retry_for=1)
    for name in ("a", "b"):
        await dead.create_workflow(name, {}, [Hold(name)])
        await dead.start(name)
        await world.entered[name].wait()
    # As if their runner were gone: nobody holds them, and nobody will write for them.
    await database.execute("UPDATE awfe_workflow SET owner = 'x:1:gone', run_id = 'gone', run_token = run_token + 1")
    other = await open_engine(takeover_delay=2.0)
    monkeypatch.setattr(other._crew.locks, "is_held", _never)
    recovering = asyncio.create_task(other.recover())
    await asyncio.sleep(0.1)
    await database.execute("DELETE FROM awfe_workflow WHERE name = 'a'")
    assert (await recovering).refused == ("b",)
    world.gates["a"].set()
    world.gates["b"].set()


async def _never(_workflow_id: int, _owner: str | None) -> bool:
    return False


async def test_keep_context_leaves_what_an_operator_has_edited_since(engine: Engine) -> None:
    @step
    async def fails(ctx: Context) -> None:
        ctx["x"], ctx["y"] = "bad", "kept"
        raise ValueError

    await engine.create_workflow("w", {}, [fails()])
    with pytest.raises(StepError):
        await engine.run("w")
    await engine.update_context("w", {"x": "good"})
    assert (await engine.reset("w", keep_context=True)).context == {"x": "good", "y": "kept"}


async def test_an_observer_that_is_cancelled_does_not_end_the_others(open_engine: OpenEngine) -> None:
    engine = await open_engine()
    seen: list[str] = []

    @engine.observer
    def cancelled(_event: Event) -> None:
        raise asyncio.CancelledError

    engine.observer(lambda event: seen.append(event.cause))
    await engine.create_workflow("w", {}, [Note("one")])
    await engine.run("w")
    await engine.close()
    assert seen == ["created", "run", "step_completed"]


@pytest.mark.databases("mysql", "postgresql")
async def test_a_lock_that_is_lost_twice_in_a_row_is_taken_again(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Hold("one"), Note("two")])
    handle = await engine.start("w")
    await world.entered["one"].wait()
    locks: Any = engine._crew.locks
    (lock,) = locks.held
    real: Any = lock.acquire
    losses: list[Any] = []

    async def acquire() -> bool:
        got: bool = await real()
        if len(losses) < 3:
            losses.append(lock.connection)
            lock.connection.end()
        return got

    lock.acquire = acquire
    lock.connection.end()
    async with asyncio.timeout(30):
        while len(losses) < 3 or lock.is_lost:
            await asyncio.sleep(0.01)
    world.gates["one"].set()
    assert (await handle).state == "completed"
    assert len(losses) == 3


async def test_an_engine_that_is_closed_while_it_opens_is_closed(database: Database) -> None:
    engine = Engine(database.url)
    opening = asyncio.create_task(engine.open())
    await asyncio.sleep(0)
    await engine.close()
    await opening
    assert not engine._gate.is_open
    assert await database.sessions(settle=5) == []


async def test_a_cancelled_close_closes_all_the_same(database: Database, world: World) -> None:
    engine = Engine(database.url, **QUICK)
    await engine.open()
    await engine.create_workflow("w", {}, [Hold("one"), Note("two")])
    handle = await engine.start("w")
    await world.entered["one"].wait()
    closing = asyncio.create_task(engine.close())
    await asyncio.sleep(0.02)
    closing.cancel()
    await asyncio.sleep(0.02)
    closing.cancel()
    world.gates["one"].set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    with pytest.raises(WorkflowHalted):
        await handle
    assert await database.sessions(settle=5) == []
