"""Who awaits a workflow that waits hears of it, whoever goes on with it, and whatever is in the way."""

import asyncio
from typing import Any
from unittest.mock import AsyncMock

import pytest

from awfe import (
    BaseStep,
    Context,
    Engine,
    Handle,
    StepError,
    StepNotFound,
    StepTimeout,
    WorkflowNotFound,
    WorkflowPaused,
    step,
)
from awfe.domain.moves import NOBODY
from awfe.testing.calls import Call, Calls
from tests.conformance.conftest import QUICK, OpenEngine
from tests.conformance.helpers import causes, waits
from tests.conformance.steps import Hold, Note, World
from tests.conformance.waiting_steps import FAR, Await
from tests.databases import Database


async def test_closing_tells_who_awaits_what_another_engine_goes_on_with(
    engine: Engine, open_engine: OpenEngine
) -> None:
    closing = await open_engine()
    await engine.create_workflow("w", {}, [Await("one")])
    mine = await closing.start("w")
    await waits(closing)
    theirs = await engine.start("w")
    async with asyncio.timeout(30):
        while not closing._steering._attaching._following:
            await asyncio.sleep(0.01)
    await closing.close()
    with pytest.raises(WorkflowPaused, match="the engine that awaited it is closed"):
        await mine
    await engine.signal("w", "go", 1)
    assert (await theirs).context == {"go": 1}


async def test_a_step_that_is_gone_when_the_wait_is_over_leaves_it_waiting(engine: Engine, database: Database) -> None:
    await engine.create_workflow("w", {}, [Await("one"), Note("after")])
    handle = await engine.start("w")
    await waits(engine)
    ((there,),) = await database.execute("SELECT impl FROM awfe_step WHERE position = 2")
    await database.execute("UPDATE awfe_step SET impl = 'tests:Gone' WHERE position = 2")
    await engine.signal("w", "go", 1)
    with pytest.raises(StepNotFound, match="tests:Gone"):
        await handle
    assert (await engine.get("w")).state == "waiting"
    await database.execute("UPDATE awfe_step SET impl = :there WHERE position = 2", {"there": there})
    assert (await engine.run("w")).context == {"go": 1}


async def test_what_could_not_be_woken_is_woken_by_a_later_look(
    database: Database, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Its steps can't be read, while the database tells that it may go on."""
    engine = Engine(database.url, **(QUICK | {"connect_retry_for": 0.0}))
    calls = Calls(engine)
    async with engine:
        await engine.create_workflow("w", {}, [Await("one"), Note("after")])
        handle = await engine.start("w")
        await waits(engine)

        def fail(call: Call) -> None:
            if "JOIN awfe_step" in call.statement:
                raise TimeoutError

        calls.before = fail
        await engine.signal("w", "go", 1)
        async with asyncio.timeout(30):
            while "can't be looked up" not in caplog.text:
                await asyncio.sleep(0.01)
        assert not handle.done()
        calls.before = None
        assert (await handle).context == {"go": 1}
    assert world.calls == ["one", "after"]


async def test_a_run_that_begins_while_it_is_woken_is_the_only_one(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.create_workflow("w", {}, [Await("one"), Note("after")])
    woken = await engine.start("w")
    await waits(engine)
    real = engine._reads.with_steps
    begun: list[Handle] = []

    async def meanwhile(name: str) -> object:
        monkeypatch.undo()
        begun.append(await engine.start(name))
        return await real(name)

    monkeypatch.setattr(engine._reads, "with_steps", meanwhile)
    await engine.signal("w", "go", 1)
    assert (await woken).context == (await begun[0]).context == {"go": 1}
    assert (await causes(engine)).count("step_completed") == 2


async def test_recover_leaves_what_its_own_engine_wakes_anyway(engine: Engine, open_engine: OpenEngine) -> None:
    waiting = await open_engine(poll_interval=3600.0)
    await engine.create_workflow("w", {}, [Await("one")])
    handle = await waiting.start("w")
    await waits(waiting)
    # A signal whose ring is lost.
    await engine._crew.waits.send("w", "go", b"1", NOBODY, engine._crew.clock())
    assert (await waiting.recover()).started == ()
    assert not handle.done()
    waiting._steering.lookout._ring()
    assert (await handle).context == {"go": 1}


@pytest.mark.parametrize("look", ["ready_here", "names_here"])
async def test_who_was_told_meanwhile_is_neither_woken_nor_follows(
    engine: Engine, open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    """It is paused here while this engine finds out that it may go on, or that another goes on with it."""
    other = await open_engine()
    await engine.create_workflow("w", {}, [Await("one")])
    handle = await engine.start("w")
    await waits(engine)
    real = getattr(engine._crew.waits, look)
    paused = asyncio.Event()

    async def meanwhile(*about: Any) -> Any:
        found = await real(*about)
        if look == "names_here" or found:
            await engine.pause("w")
            paused.set()
        return found

    monkeypatch.setattr(engine._crew.waits, look, meanwhile)
    await (other.start("w") if look == "names_here" else engine.signal("w", "go", 1))
    await paused.wait()
    with pytest.raises(WorkflowPaused, match="is paused"):
        await handle
    await asyncio.sleep(0.05)
    assert not engine._steering._attaching._following
    assert (await engine.get("w")).state == "paused"


async def test_who_follows_an_engine_that_closes_goes_on_by_itself(engine: Engine, open_engine: OpenEngine) -> None:
    closing, other = await open_engine(), await open_engine()
    await engine.create_workflow("w", {}, [Await("one")])
    handle = await engine.start("w")
    await waits(engine)
    await closing.start("w")
    async with asyncio.timeout(30):
        while not engine._steering._attaching._following:
            await asyncio.sleep(0.01)
    await closing.close()
    await other.signal("w", "go", 1)
    assert (await handle).context == {"go": 1}


async def test_who_starts_twice_what_waits_elsewhere_awaits_one_run(engine: Engine, open_engine: OpenEngine) -> None:
    other = await open_engine()
    await engine.create_workflow("w", {}, [Await("one")])
    await engine.start("w")
    await waits(engine)
    handles = [await other.start("w") for _ in range(2)]
    await engine.signal("w", "go", 1)
    assert [(await each).context for each in handles] == [{"go": 1}] * 2


async def test_who_follows_what_is_removed_hears_of_it(
    engine: Engine, open_engine: OpenEngine, database: Database
) -> None:
    other = await open_engine()
    await engine.create_workflow("w", {}, [Await("one")])
    mine = await engine.start("w")
    await waits(engine)
    theirs = await other.start("w")
    await waits(other)
    await database.execute("DELETE FROM awfe_workflow")
    for handle in (mine, theirs):
        with pytest.raises(WorkflowNotFound):
            await handle


@step(name="tests.late")
async def late(_ctx: Context) -> None:
    """Fail with a time-out of its own."""
    msg = "no signal from the pump"
    raise TimeoutError(msg)


@pytest.mark.parametrize(
    ("steps", "kind", "told"),
    [
        ([Await("one", limit=FAR)], StepTimeout, "TimeoutError: no signal 'go' came within 3600 s$"),
        ([Await("one", limit=FAR, otherwise=[1]), late], StepError, "TimeoutError: no signal from the pump$"),
        ([Await("one", limit=FAR, otherwise=[1]), Hold("two").using(timeout=0.01)], StepTimeout, "than its timeout"),
    ],
)
async def test_who_follows_is_told_of_a_time_out_as_who_runs(  # noqa: PLR0917 - fixtures, which pytest gives by name
    engine: Engine,
    open_engine: OpenEngine,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[BaseStep],
    kind: type[StepError],
    told: str,
) -> None:
    """Who follows has the record only: whose time-out it was is in there, too."""
    follower = await open_engine(poll_interval=3_600.0)
    await engine.create_workflow("w", {}, steps)
    # It looks as soon as it waits: on a slow day it would go on by itself.
    monkeypatch.setattr(follower._steering._attaching, "look", AsyncMock())
    handle = await follower.start("w")
    await waits(follower)
    await database.execute("UPDATE awfe_workflow SET due_at = created_at")
    assert (await engine.recover()).started == ("w",)
    assert (await engine.wait("w")).state == "error"
    monkeypatch.undo()
    await follower._steering.lookout.ring_for(follower._crew.owner)
    with pytest.raises(StepError, match=told) as raised:
        await handle
    assert type(raised.value) is kind
