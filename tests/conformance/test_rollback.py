"""Rollback: what completed steps can undo is undone, the last first, and can be halted as a run can."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from awfe import Engine, ErrorState, InvalidState, StepError, WorkflowPaused, WorkflowState, WorkflowStopped
from awfe.domain.decide import Halt
from tests.conformance.conftest import OpenEngine
from tests.conformance.helpers import Start, each_kind_of_lock, hold, killed
from tests.conformance.steps import Note, World
from tests.conformance.waiting_steps import Await, Undoable

if TYPE_CHECKING:
    from collections.abc import Callable

NO = ValueError("no")


async def failed(engine: Engine, world: World) -> None:
    """Run a workflow that fails at its fourth step; the second has nothing to undo, the third was skipped."""
    steps = [Undoable("one", {"a": 1}), Note("two"), Undoable("three"), Undoable("four", {"d": 4}), Undoable("five")]
    await engine.create_workflow("w", {"start": 0}, steps)
    world.failing = {"three": NO, "four": NO}
    with pytest.raises(StepError):
        await engine.run("w")
    await engine.skip("w")
    with pytest.raises(StepError):
        await engine.run("w")
    world.calls.clear()


def states(workflow: Any) -> list[str]:
    """Return the states of a workflow's steps."""
    return [str(step.state) for step in workflow.steps]


@each_kind_of_lock
async def test_completed_steps_are_undone_from_the_last_one_down(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Undoable("one", {"a": 1}), Note("two"), Undoable("three")])
    await engine.run("w")
    workflow = await engine.rollback("w", actor="ada", reason="wrong version")
    assert (workflow.state, workflow.position) == ("rolled_back", None)
    assert workflow.ended_at is not None
    assert states(workflow) == ["undone", "completed", "undone"]
    assert world.calls == ["one", "two", "three", "undo three", "undo one"]
    assert workflow.context == {"a": 1, "undone_three": 2, "undone_one": 2}
    told = [(str(event.cause), event.step, event.actor) for event in await engine.history("w")][-3:]
    assert told == [("rollback", 3, "ada"), ("step_undone", 3, None), ("step_undone", 1, None)]
    for verb in (engine.run, engine.reset, engine.rollback, engine.pause, engine.skip):
        with pytest.raises(InvalidState):
            await verb("w")
    await engine.delete("w")


async def test_steps_without_undo_and_skipped_ones_and_the_failed_one_are_passed_over(
    engine: Engine, world: World
) -> None:
    await failed(engine, world)
    workflow = await engine.rollback("w")
    assert world.calls == ["undo one"]
    assert states(workflow) == ["undone", "completed", "skipped", "error", "pending"]


async def test_the_failed_step_is_undone_when_asked(engine: Engine, world: World) -> None:
    await failed(engine, world)
    workflow = await engine.rollback("w", include_current=True)
    assert world.calls == ["undo four", "undo one"]
    assert states(workflow) == ["undone", "completed", "skipped", "undone", "pending"]
    assert "d" not in workflow.context


async def test_with_nothing_to_undo_it_is_rolled_back_at_once(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Note("one"), Note("two")])
    await engine.run("w")
    assert (await engine.rollback("w")).state == "rolled_back"
    assert world.calls == ["one", "two"]
    last = (await engine.history("w"))[-1]
    assert (last.cause, last.step) == ("rollback", None)


async def test_an_undo_that_fails_leaves_an_error_from_which_only_a_few_verbs_lead(
    engine: Engine, world: World
) -> None:
    await engine.create_workflow("w", {}, [Undoable("one"), Undoable("two"), Undoable("three")])
    await engine.run("w")
    world.failing["undo two"] = NO
    with pytest.raises(StepError, match="failed to undo step 2") as error:
        await engine.rollback("w")
    assert error.value.__cause__ is NO
    workflow = await engine.get("w")
    assert (workflow.state, workflow.position) == ("error", 2)
    assert states(workflow) == ["completed", "error", "undone"]
    assert workflow.steps[1].error is not None
    refused: list[Callable[[str], Any]] = [engine.reset, engine.skip, lambda name: engine.update_context(name, {})]
    for verb in refused:
        with pytest.raises(InvalidState, match="in the middle of a rollback"):
            await verb("w")
    with pytest.raises(ErrorState, match="in the middle of a rollback"):
        await engine.run("w")
    with pytest.raises(InvalidState, match="is at step 2"):
        await engine.reset("w", from_step=3)
    world.failing.clear()
    assert (await engine.rollback("w")).state == "rolled_back"
    assert world.calls[3:] == ["undo three", "undo two", "undo two", "undo one"]
    assert [step.attempt for step in (await engine.get("w")).steps] == [2, 3, 2]


async def test_an_undo_can_be_skipped(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Undoable("one"), Undoable("two")])
    await engine.run("w")
    world.failing["undo two"] = NO
    with pytest.raises(StepError):
        await engine.rollback("w")
    workflow = await engine.rollback("w", skip_undo=True, actor="ada", reason="by hand")
    assert (workflow.state, states(workflow)) == ("rolled_back", ["undone", "completed"])


async def test_after_a_reset_the_way_is_forward_again(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {"start": 0}, [Undoable("one"), Undoable("two"), Undoable("three", {"c": 3})])
    await engine.run("w")
    world.failing["undo two"] = NO
    with pytest.raises(StepError):
        await engine.rollback("w")
    workflow = await engine.reset("w", from_step=2)
    assert (workflow.state, states(workflow)) == ("paused", ["completed", "pending", "pending"])
    assert workflow.context == {"start": 0}
    workflow = await engine.run("w")
    assert (workflow.state, workflow.context) == ("completed", {"start": 0, "c": 3})
    world.failing.clear()
    assert states(await engine.rollback("w")) == ["undone"] * 3


@pytest.mark.parametrize("verb", ["pause", "stop"])
async def test_it_can_be_paused_and_stopped_and_goes_on(
    engine: Engine, world: World, verb: str, open_engine: OpenEngine
) -> None:
    other = await open_engine()
    await engine.create_workflow("w", {}, [Undoable("one"), Undoable("two"), Undoable("three")])
    await engine.run("w")
    world.gates["undo two"].clear()
    task = asyncio.create_task(engine.rollback("w"))
    await world.entered["undo two"].wait()
    assert (await engine.get("w")).state == "rolling_back"
    await getattr(other, verb)("w")
    if verb == "pause":
        world.gates["undo two"].set()
    with pytest.raises(WorkflowPaused if verb == "pause" else WorkflowStopped):
        await task
    workflow = await engine.get("w")
    assert (workflow.state, workflow.position) == (("paused", 1) if verb == "pause" else ("stopped", 2))
    with pytest.raises(InvalidState):
        await engine.run("w")
    world.gates["undo two"].set()
    assert states(await engine.rollback("w")) == ["undone"] * 3
    assert world.calls.count("undo two") == (1 if verb == "pause" else 2)


async def test_cancelling_who_awaits_stops_it(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Undoable("one")])
    await engine.run("w")
    world.gates["undo one"].clear()
    task = asyncio.create_task(engine.rollback("w"))
    await world.entered["undo one"].wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await engine.get("w")).state == "stopped"


async def test_closing_halts_it_and_recover_goes_on(engine: Engine, open_engine: OpenEngine, world: World) -> None:
    closing = await open_engine()
    await engine.create_workflow("w", {}, [Undoable("one"), Undoable("two")])
    await engine.run("w")
    world.gates["undo two"].clear()
    task = asyncio.create_task(closing.rollback("w"))
    await world.entered["undo two"].wait()
    ending = asyncio.create_task(closing.close())
    await asyncio.sleep(0)
    world.gates["undo two"].set()
    with pytest.raises(WorkflowPaused):
        await task
    await ending
    assert (await engine.get("w")).state == "paused"
    assert (await engine.recover()).started == ("w",)
    async with asyncio.timeout(30):
        while (await engine.get("w")).state != "rolled_back":
            await asyncio.sleep(0.01)


async def test_one_that_a_person_has_paused_no_line_of_another_engine_goes_on_with(
    engine: Engine, open_engine: OpenEngine, world: World
) -> None:
    """It stood in line to be recovered there, while this engine went on with it."""
    closing, other = await open_engine(), await open_engine(max_running=1)
    first = await hold(other, world, "first")
    await engine.create_workflow("w", {}, [Undoable("one"), Undoable("two"), Undoable("three")])
    await engine.run("w")
    for undo, halting in (("undo three", closing), ("undo two", engine)):
        world.gates[undo].clear()
        task = asyncio.create_task(halting.rollback("w"))
        await world.entered[undo].wait()
        halted = asyncio.create_task(halting.close() if halting is closing else halting.pause("w"))
        await asyncio.wait({halted}, timeout=0.2)
        world.gates[undo].set()
        with pytest.raises(WorkflowPaused):
            await task
        await halted
        if halting is closing:
            assert (await other.recover()).started == ("w",)
    world.gates["first"].set()
    await first
    assert (await other.wait("w", 30)).state == "paused"
    assert "undo one" not in world.calls


@pytest.mark.parametrize("halt", [Halt.PAUSE, Halt.SHUTDOWN], ids=str)
async def test_one_that_halts_while_an_undo_begins_has_not_begun_it(
    engine: Engine, world: World, monkeypatch: pytest.MonkeyPatch, halt: Halt
) -> None:
    await engine.create_workflow("w", {}, [Undoable("one"), Undoable("two")])
    await engine.run("w")
    claim = engine._crew.writes.claim

    async def claimed(name: str, *about: Any, **more: Any) -> Any:
        found = await claim(name, *about, **more)
        if found.head.state == "rolling_back" and (run := engine._steering.control.get(name)):
            run.ask(halt)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(engine._crew.writes, "claim", claimed)
        with pytest.raises(WorkflowPaused):
            await engine.rollback("w")
    workflow = await engine.get("w")
    assert (workflow.state, workflow.position, states(workflow)) == ("paused", 2, ["completed", "pending"])
    assert world.calls == ["one", "two"]
    if halt is Halt.SHUTDOWN:
        assert (await engine.recover()).started == ("w",)
        workflow = await engine.wait("w")
    else:
        assert (await engine.recover()).started == ()
        workflow = await engine.rollback("w")
    assert (workflow.state, states(workflow)) == ("rolled_back", ["undone", "undone"])
    assert world.calls == ["one", "two", "undo two", "undo one"]


@each_kind_of_lock
async def test_after_kill_9_it_is_in_error_and_goes_on(engine: Engine, start: Start, world: World) -> None:
    await engine.create_workflow("w", {}, [Undoable("one"), Undoable("two")])
    await engine.run("w")
    process = await start("rollback", "w")
    async with asyncio.timeout(60):
        while (await engine.get("w")).state != "rolling_back":
            await asyncio.sleep(0.01)
    await killed(process)
    async with asyncio.timeout(60):
        while not (await engine.recover()).refused:
            await asyncio.sleep(0.01)
    workflow = await engine.get("w")
    assert (workflow.state, states(workflow)) == ("error", ["completed", "interrupted"])
    assert (await engine.rollback("w")).state == "rolled_back"
    assert world.calls == ["one", "two", "undo two", "undo one"]


async def test_what_waits_while_paused_can_be_rolled_back(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Undoable("one"), Await("two")])
    await engine.start("w")
    async with asyncio.timeout(30):
        while (await engine.get("w")).state != WorkflowState.WAITING:
            await asyncio.sleep(0.01)
    with pytest.raises(InvalidState):
        await engine.rollback("w")
    await engine.pause("w")
    workflow = await engine.rollback("w")
    assert (workflow.state, states(workflow)) == ("rolled_back", ["undone", "stopped"])
    assert world.calls == ["one", "two", "undo one"]


async def test_flags_are_checked(engine: Engine) -> None:
    with pytest.raises(ValueError, match="include_current"):
        await engine.rollback("w", include_current=1)  # type: ignore[arg-type]  # what is refused
