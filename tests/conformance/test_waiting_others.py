"""Workflows that wait, and several who run, await, halt and close at them."""

import asyncio
from pathlib import Path

import pytest

from awfe import (
    Engine,
    Handle,
    InvalidState,
    StepError,
    Workflow,
    WorkflowNotFound,
    WorkflowPaused,
    WorkflowState,
    WorkflowStopped,
)
from tests.conformance.conftest import OpenEngine
from tests.conformance.helpers import Start, causes, each_kind_of_lock, killed, waits
from tests.conformance.steps import Note, World
from tests.conformance.waiting_steps import Await, Nap
from tests.conformance.worker import Mark

WAITING = WorkflowState.WAITING


@each_kind_of_lock
async def test_a_pause_and_a_stop_of_another_engine_reach_who_awaits(engine: Engine, open_engine: OpenEngine) -> None:
    other = await open_engine()
    for name, verb, error in (("p", other.pause, WorkflowPaused), ("s", other.stop, WorkflowStopped)):
        await engine.create_workflow(name, {}, [Await("one")])
        handle = await engine.start(name)
        await waits(engine, name)
        await verb(name)
        with pytest.raises(error):
            await handle


async def test_cancelling_who_awaits_stops_what_waits(engine: Engine) -> None:
    await engine.create_workflow("w", {}, [Await("one")])
    task = asyncio.create_task(engine.run("w"))
    await waits(engine)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    workflow = await engine.get("w")
    assert (workflow.state, workflow.steps[0].state) == ("stopped", "stopped")


async def test_many_may_await_what_waits(engine: Engine, open_engine: OpenEngine) -> None:
    other = await open_engine()
    await engine.create_workflow("w", {}, [Await("one"), Note("after")])
    runs = [asyncio.create_task(engine.run("w"))]
    await waits(engine)
    runs += [asyncio.create_task(each.run("w")) for each in (engine, other, other)]
    await asyncio.sleep(0.05)
    waiting = asyncio.create_task(engine.wait("w"))
    await engine.signal("w", "go", 1)
    for run in [*runs, waiting]:
        assert (await asyncio.wait_for(run, 30)).context == {"go": 1}
    assert (await causes(engine)).count("step_completed") == 2


async def test_who_awaits_hears_of_an_error_of_another_engine(engine: Engine, open_engine: OpenEngine) -> None:
    other = await open_engine()
    await engine.create_workflow("w", {}, [Await("one", limit=0.2)])
    mine = await engine.start("w")
    await waits(engine)
    theirs = await other.start("w")
    for handle in (mine, theirs):
        with pytest.raises(StepError, match="no signal 'go' came"):
            await handle


async def _result(handle: Handle) -> Workflow:
    return await handle


async def test_who_awaits_hears_of_a_deletion(engine: Engine, open_engine: OpenEngine) -> None:
    other = await open_engine()
    await engine.create_workflow("w", {}, [Await("one")])
    handle = await engine.start("w")
    await waits(engine)
    with pytest.raises(InvalidState, match="waiting"):
        await other.delete("w")
    await other.pause("w")
    await other.delete("w")
    # Whether this engine looks in between is chance; it never waits for what is gone.
    with pytest.raises((WorkflowPaused, WorkflowNotFound)):
        await asyncio.wait_for(_result(handle), 30)


async def test_closing_leaves_alone_what_waits(open_engine: OpenEngine, engine: Engine, world: World) -> None:
    closing = await open_engine()
    await engine.create_workflow("w", {}, [Await("one"), Note("after")])
    handle = await closing.start("w")
    await waits(closing)
    await closing.close()
    with pytest.raises(WorkflowPaused, match="its engine is closed"):
        await handle
    assert (await engine.get("w")).state == WAITING
    assert (await engine.recover()).started == ()
    await engine.signal("w", "go", 1)
    assert (await engine.recover()).started == ("w",)
    assert (await engine.wait("w")).state == "completed"
    assert world.calls == ["one", "after"]


@each_kind_of_lock
async def test_what_waits_survives_kill_9(engine: Engine, start: Start, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    await engine.create_workflow("w", {}, [Mark(str(marks), "one"), Await("two"), Mark(str(marks), "three")])
    await engine.create_workflow("t", {}, [Nap("nap", {}, 0.5), Mark(str(marks), "four")])
    process = await start("nap", "w", "t")
    async with asyncio.timeout(60):
        while {(await engine.get(name)).state for name in ("w", "t")} != {WAITING}:
            await asyncio.sleep(0.01)
    await killed(process)
    assert (await engine.recover()).refused == ()
    await engine.signal("w", "go", 1)
    async with asyncio.timeout(60):
        while (await engine.stats())[WorkflowState.COMPLETED] != 2:
            assert (await engine.recover()).refused == ()
            await asyncio.sleep(0.05)
    done = [text.split()[0] for text in marks.read_text().splitlines()]
    assert sorted(done) == ["four", "one", "three"]
    assert done.index("one") < done.index("three")


async def test_what_a_skip_sets_is_the_change_of_a_step_that_waited(engine: Engine) -> None:
    await engine.create_workflow("w", {}, [Nap("nap", {"a": 1}), Note("after")])
    await engine.start("w")
    await waits(engine)
    await engine.pause("w")
    step = (await engine.skip("w", context={"b": 2})).steps[0]
    assert (step.state, step.changes.set) == ("skipped", {"b": 2})
