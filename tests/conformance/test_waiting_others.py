"""Workflows that wait, and several who run, await, halt and close at them."""

import asyncio
from pathlib import Path

import pytest

from awfe import (
    Engine,
    InvalidState,
    StepError,
    WorkflowPaused,
    WorkflowState,
    WorkflowStopped,
)
from tests.conformance.conftest import OpenEngine
from tests.conformance.helpers import Start, each_kind_of_lock, killed
from tests.conformance.steps import Note, World
from tests.conformance.waiting_steps import Await, Nap
from tests.conformance.worker import Mark

WAITING = WorkflowState.WAITING


async def waits(engine: Engine, name: str = "w") -> None:
    """Return when a workflow waits, and this engine has noticed it."""
    async with asyncio.timeout(30):
        while (await engine.get(name)).state != WAITING or engine._steering.control.get(name) is not None:
            await asyncio.sleep(0.005)


async def causes(engine: Engine, name: str = "w") -> list[str]:
    """Return the causes of a workflow's history."""
    return [str(event.cause) for event in await engine.history(name)]


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


async def test_who_awaits_hears_of_a_deletion(engine: Engine, open_engine: OpenEngine) -> None:
    other = await open_engine()
    await engine.create_workflow("w", {}, [Await("one")])
    handle = await engine.start("w")
    await waits(engine)
    with pytest.raises(InvalidState, match="waiting"):
        await other.delete("w")
    # Too quick for a bell or a poll: both are done by the time this engine looks.
    await asyncio.gather(other.pause("w"), asyncio.sleep(0))
    await other.delete("w")
    with pytest.raises((WorkflowPaused, InvalidState, LookupError, Exception), match="w"):
        await handle


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
async def test_what_waits_survives_kill_9(engine: Engine, start: Start, tmp_path: Path, world: World) -> None:
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
    assert [text.split()[0] for text in marks.read_text().splitlines()] == ["one", "three", "four"] or world.calls == []
