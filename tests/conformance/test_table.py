"""The contract's table: what every verb does in every state, spelled out so that the code's table can be wrong."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from awfe import Engine, ErrorState, InvalidState, Workflow, WorkflowLocked, WorkflowNotFound, WorkflowState
from awfe.domain import registry
from awfe.domain.states import VERBS, Verb
from tests.conformance.conftest import Arranged
from tests.conformance.steps import World

STATES = ("pending", "running", "waiting", "paused", "stopped", "error", "completed", "rolling_back", "rolled_back")
LOCKED, INVALID, FAILED = WorkflowLocked, InvalidState, ErrorState
# A name is the state that the workflow is in afterwards; `run` of what waits goes on when its signal comes.
TABLE: dict[str, tuple[Any, ...]] = {
    "run": ("completed", LOCKED, "completed", "completed", FAILED, FAILED, "completed", LOCKED, FAILED),
    "pause": (INVALID, "running", "paused", "paused", INVALID, INVALID, INVALID, "rolling_back", INVALID),
    "stop": (INVALID, "stopped", "stopped", INVALID, "stopped", INVALID, INVALID, "stopped", INVALID),
    "reset": (INVALID, LOCKED, INVALID, INVALID, "paused", "paused", INVALID, LOCKED, INVALID),
    "reset from_step": (INVALID, LOCKED, INVALID, "paused", "paused", "paused", "paused", LOCKED, INVALID),
    "skip": ("paused", LOCKED, INVALID, "paused", "paused", "paused", INVALID, LOCKED, INVALID),
    "update_context": ("pending", LOCKED, INVALID, "paused", "stopped", "error", INVALID, LOCKED, INVALID),
    "replace_steps": ("pending", LOCKED, INVALID, "paused", "stopped", "error", INVALID, LOCKED, INVALID),
    "rollback": (INVALID, LOCKED, INVALID, *["rolled_back"] * 4, LOCKED, INVALID),
    "signal": ("pending", "running", "completed", "paused", "stopped", "error", INVALID, "rolling_back", INVALID),
    "delete": ("gone", LOCKED, INVALID, "gone", "gone", "gone", "gone", LOCKED, "gone"),
}


async def run(engine: Engine, name: str) -> None:
    """Run it; what it waits for comes when somebody awaits it."""
    task = asyncio.create_task(engine.run(name))
    if (await engine.get(name)).state == "waiting":
        await engine.signal(name, "go")
    await task


async def replace_steps(engine: Engine, name: str) -> None:
    """Put one more step to the end, behind those that are there, whatever these are."""
    saved = (await engine.get(name)).steps
    steps = [registry.find(step.impl)(**step.args) for step in saved]
    await engine.replace_steps(name, [*steps, steps[0]])


CALLS: dict[str, Callable[[Engine, str], Awaitable[Any]]] = {
    "run": run,
    "pause": lambda engine, name: engine.pause(name),
    "stop": lambda engine, name: engine.stop(name),
    "reset": lambda engine, name: engine.reset(name),
    "reset from_step": lambda engine, name: engine.reset(name, from_step=1),
    "skip": lambda engine, name: engine.skip(name),
    "update_context": lambda engine, name: engine.update_context(name, {"x": 1}),
    "replace_steps": replace_steps,
    "rollback": lambda engine, name: engine.rollback(name),
    "signal": lambda engine, name: engine.signal(name, "go"),
    "delete": lambda engine, name: engine.delete(name),
}
Arrange = Callable[[str], Awaitable[Arranged]]


def test_the_table_is_complete() -> None:
    assert set(TABLE) == set(VERBS) == set(Verb)
    assert set(STATES) == set(WorkflowState)
    assert all(len(row) == len(STATES) for row in TABLE.values())


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("verb", TABLE)
async def test_cell(engine: Engine, world: World, arrange: Arrange, verb: str, state: str) -> None:
    expected = TABLE[verb][STATES.index(state)]
    await arrange(state)
    before = await engine.get("w")
    if verb in ("run", "signal") and state != "running":
        world.gates["two"].set()

    if not isinstance(expected, str):
        with pytest.raises(expected) as refusal:
            await CALLS[verb](engine, "w")
        assert type(refusal.value) is expected
        _explains(refusal.value, verb, state)
        assert await engine.get("w") == before, "a refusal changes nothing"
        return

    await CALLS[verb](engine, "w")
    if (verb, state) in (("stop", "running"), ("stop", "rolling_back"), ("signal", "waiting")):
        await engine.wait("w")
    await _is(engine, expected)


async def _is(engine: Engine, expected: str) -> None:
    if expected == "gone":
        with pytest.raises(WorkflowNotFound):
            await engine.get("w")
        return
    workflow: Workflow = await engine.get("w")
    assert workflow.state == expected


def _explains(refusal: BaseException, verb: str, state: str) -> None:
    text = str(refusal)
    if isinstance(refusal, WorkflowLocked):
        assert "'w'" in text
        return
    assert state in text
    assert verb in text
    allowed = [STATES[i] for i, cell in enumerate(TABLE[verb]) if isinstance(cell, str)]
    assert all(name in text for name in allowed)


async def test_a_refused_run_of_an_error_tells_what_to_do(engine: Engine, arrange: Arrange) -> None:
    await arrange("error")
    with pytest.raises(ErrorState, match="restart, reset or skip"):
        await engine.run("w")


async def test_pause_takes_effect_after_the_current_step(engine: Engine, world: World, arrange: Arrange) -> None:
    arranged = await arrange("running")
    await engine.pause("w")
    assert (await engine.get("w")).request == "pause"
    world.gates["two"].set()
    workflow = await engine.wait("w")
    assert (workflow.state, workflow.position, workflow.request) == ("paused", 3, None)
    assert arranged.handle is not None
    assert world.calls == ["one", "two"]


async def test_a_stopped_step_that_is_declared_rerun_goes_on(engine: Engine, world: World) -> None:
    from tests.conformance.steps import Note, Rerun  # noqa: PLC0415 - only here

    await engine.create_workflow("w", {}, [Rerun("again"), Note("after")])
    handle = await engine.start("w")
    await world.entered["again"].wait()
    await engine.stop("w")
    assert (await engine.wait("w")).steps[0].state == "stopped"
    world.gates["again"].set()
    assert (await engine.run("w")).state == "completed"
    assert world.calls == ["again", "again", "after"]
    assert handle.done()


async def test_skipping_the_last_step_completes(engine: Engine, world: World, arrange: Arrange) -> None:
    await arrange("paused")
    await engine.skip("w")
    workflow = await engine.skip("w", context={"by": "hand"})
    assert (workflow.state, workflow.position, workflow.context["by"]) == ("completed", None, "hand")
    assert workflow.ended_at is not None
    assert (await engine.reset("w", from_step=4)).state == "paused"
    assert "by" not in (await engine.get("w")).context
    assert world.calls == ["one", "two"]


async def test_reset_while_no_step_has_ever_begun_leaves_pending(engine: Engine, arrange: Arrange) -> None:
    await arrange("pending")
    assert (await engine.skip("w")).state == "paused"
    workflow = await engine.reset("w", from_step=1)
    assert (workflow.state, workflow.position) == ("pending", 1)
    assert workflow.steps[0].state == "pending"


async def test_reset_cannot_pass_over_steps(engine: Engine, arrange: Arrange) -> None:
    await arrange("error")
    with pytest.raises(InvalidState, match="use skip"):
        await engine.reset("w", from_step=3)
