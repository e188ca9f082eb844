"""Starting in the background, waiting, pausing, stopping, cancelling and closing."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from awfe import (
    Engine,
    InvalidInput,
    InvalidState,
    StepError,
    WorkflowHalted,
    WorkflowLocked,
    WorkflowPaused,
    WorkflowStopped,
)
from tests.conformance.conftest import OpenEngine
from tests.conformance.helpers import hold
from tests.conformance.steps import Hold, Note, Rerun, Stubborn, World


async def test_a_second_run_is_refused_wherever_it_comes_from(
    engine: Engine, world: World, open_engine: OpenEngine
) -> None:
    task = await hold(engine, world)
    other = await open_engine()
    for each in (engine, other):
        for verb in (each.run, each.start, each.delete, each.reset, each.skip):
            with pytest.raises(WorkflowLocked, match=r"'w' is running in .*:\d+"):
                await verb("w")
        with pytest.raises(WorkflowLocked):
            await each.update_context("w", {"x": 1})
    world.gates["w"].set()
    await task


async def test_pause_and_stop_from_another_engine(engine: Engine, world: World, open_engine: OpenEngine) -> None:
    other = await open_engine()
    for name, verb, state in (("p", other.pause, "paused"), ("s", other.stop, "stopped")):
        task = await hold(engine, world, name)
        await verb(name)
        if name == "p":
            world.gates[name].set()
        with pytest.raises(WorkflowHalted) as halted:
            await task
        assert halted.value.state == state
        assert (await other.wait(name)).state == state
    assert world.calls == ["one", "p", "one", "s"]


async def test_stop_wins_over_pause(engine: Engine, world: World) -> None:
    task = await hold(engine, world)
    await engine.pause("w")
    await engine.stop("w")
    with pytest.raises(WorkflowStopped):
        await task
    assert (await engine.get("w")).state == "stopped"


async def test_a_pause_in_the_last_step_lapses_and_is_closed_in_the_history(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Hold("one")])
    handle = await engine.start("w")
    await world.entered["one"].wait()
    await engine.pause("w")
    world.gates["one"].set()
    workflow = await handle
    assert (workflow.state, workflow.request) == ("completed", None)
    assert "request_lapsed" in [event.cause for event in await engine.history("w")]


async def test_a_pause_does_not_hide_a_failure(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Hold("one"), Note("two")])
    handle = await engine.start("w")
    await world.entered["one"].wait()
    await engine.pause("w")
    engine._steering.control.get("w")._attempt.task.cancel()  # type: ignore[union-attr]  # a step that cancels itself has failed
    with pytest.raises(StepError):
        await handle
    assert (await engine.get("w")).state == "error"


async def test_a_stubborn_step_is_fenced_and_keeps_the_lock_until_it_ends(
    engine: Engine, world: World, open_engine: OpenEngine
) -> None:
    other = await open_engine()
    await engine.create_workflow("w", {}, [Stubborn("one", checkpoint=True)])
    handle = await engine.start("w")
    await world.entered["one"].wait()
    await engine.stop("w", grace=0.05)
    with pytest.raises(WorkflowStopped):
        await handle
    assert (await engine.get("w")).state == "stopped"
    for each in (engine, other):
        for verb in (each.reset, each.skip, each.delete):
            with pytest.raises(WorkflowLocked, match="still alive"):
                await verb("w")
    world.gates["one"].set()
    async with asyncio.timeout(20):
        while True:
            with suppress(WorkflowLocked):
                await other.reset("w")
                break
            await asyncio.sleep(0.01)
    assert (await engine.run("w")).state == "completed"
    assert (await engine.get("w")).context == {"late": True}


async def test_a_bad_grace_is_refused(engine: Engine, world: World) -> None:
    task = await hold(engine, world)
    for grace in (-1, float("nan"), "1", True):
        with pytest.raises(InvalidInput, match="grace="):
            await engine.stop("w", grace)  # type: ignore[arg-type]  # what is tested
    world.gates["w"].set()
    await task


async def test_in_line_a_workflow_keeps_its_state_and_may_be_taken_out(open_engine: OpenEngine, world: World) -> None:
    engine = await open_engine(max_running=1)
    first = await hold(engine, world, "first")
    for name in ("p", "s", "c", "last"):
        await engine.create_workflow(name, {}, [Note(name)])
    queued = {name: await engine.start(name) for name in ("p", "s", "last")}
    with pytest.raises(WorkflowLocked, match="in line"):
        await engine.start("p")
    cancelled = asyncio.create_task(engine.run("c"))
    await asyncio.sleep(0.05)
    assert (await engine.get("p")).state == "pending"
    await engine.pause("p", reason="not now")
    await engine.stop("s")
    cancelled.cancel()
    with pytest.raises(WorkflowPaused):
        await queued["p"]
    with pytest.raises(WorkflowStopped):
        await queued["s"]
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert {name: (await engine.get(name)).state for name in ("p", "s", "c")} == dict.fromkeys("psc", "pending")
    assert [event.reason for event in await engine.history("p")] == [None, "not now"]
    world.gates["first"].set()
    await first
    assert (await queued["last"]).state == "completed"
    assert (await engine.run("p")).state == "completed"
    assert world.calls == ["one", "first", "three", "last", "p"]


@pytest.mark.parametrize("verb", ["pause", "stop"])
async def test_what_a_person_has_halted_no_line_of_another_engine_begins_again(
    open_engine: OpenEngine, world: World, verb: str
) -> None:
    """It stood in line to be recovered there, while this engine ran it, and would be allowed to go on."""
    engine, other = await open_engine(), await open_engine(max_running=1)
    task = await hold(other, world, "first")
    await engine.create_workflow("w", {}, [Rerun("one"), Rerun("two")], at=datetime.now(UTC))
    assert (await other.recover()).started == ("w",)
    handle = await engine.start("w")
    await world.entered["one"].wait()
    await getattr(engine, verb)("w")
    world.gates["one"].set()
    with pytest.raises(WorkflowHalted):
        await handle
    halted = await engine.get("w")
    assert halted.state == ("paused" if verb == "pause" else "stopped")
    world.gates["first"].set()
    await task
    assert await other.wait("w", 30) == halted
    assert other._steering.control.get("w") is None


async def test_refused_requests_name_the_state(engine: Engine) -> None:
    await engine.create_workflow("w", {}, [Note("one")])
    with pytest.raises(InvalidState, match="'w' is in state pending: pause is allowed in running"):
        await engine.pause("w")


async def test_a_stop_that_is_acted_on_at_the_last_moment_is_no_fence(
    engine: Engine, open_engine: OpenEngine, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    other = await open_engine()
    task = await hold(engine, world)
    (head,) = await other._reads.running()
    await other.stop("w")
    with pytest.raises(WorkflowStopped):
        await task
    before = await other.history("w")
    # Others hold it for late by what they have read before.
    await other._steering.lookout._fence(head)
    assert await other.history("w") == before
    assert "fenced" not in caplog.text
