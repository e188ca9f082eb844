"""One undo of a rollback is an attempt: its policies, its changes, what cuts it off, and what it can't do."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from awfe import Context, Engine, Retry, Sleep, StepError, StepTimeout, WorkflowNotFound, WorkflowStopped
from tests.conformance.conftest import OpenEngine
from tests.conformance.steps import Note, World
from tests.conformance.waiting_steps import Undoable


@dataclass
class Careful(Note, name="tests.Careful"):
    """Its undo saves how far it came, and fails the first time."""

    async def undo(self, ctx: Context) -> None:
        """Undo a half, then the other."""
        World.now.calls.append(f"undo {self.name} {ctx.step.attempt} {ctx.get('half')}")
        ctx["half"] = ctx.step.attempt
        await ctx.checkpoint()
        ctx["unsaved"] = True
        if World.now.calls.count(f"undo {self.name} {ctx.step.attempt} None"):
            msg = "only a half"
            raise ValueError(msg)


@dataclass
class Sleepy(Note, name="tests.Sleepy"):
    """Wants to wait in its undo."""

    async def undo(self, ctx: Context) -> Any:
        """Wait."""
        return Sleep(ctx.step.position)


async def test_it_is_retried_with_what_it_has_saved(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Careful("one").using(retry=Retry(attempts=3, wait=0.02))])
    await engine.run("w")
    workflow = await engine.rollback("w")
    assert (workflow.state, workflow.steps[0].attempt) == ("rolled_back", 3)
    assert world.calls == ["one", "undo one 2 None", "undo one 3 2"]
    assert workflow.context == {"half": 3, "unsaved": True}
    told = [(str(event.cause), event.attempt) for event in await engine.history("w")]
    assert [each for each in told if each[0] in ("step_error", "step_undone")] == [
        ("step_error", 2),
        ("step_undone", 3),
    ]


async def test_one_that_takes_too_long_fails_and_the_workflow_can_be_deleted(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Undoable("one").using(timeout=0.1)])
    await engine.run("w")
    world.gates["undo one"].clear()
    with pytest.raises(StepTimeout, match=r"failed to undo step 1 .* took longer than its timeout of 0\.1 s"):
        await engine.rollback("w")
    assert (await engine.get("w")).state == "error"
    await engine.delete("w")
    with pytest.raises(WorkflowNotFound):
        await engine.get("w")


async def test_hooks_are_not_called_for_it_and_it_can_not_wait(engine: Engine) -> None:
    called: list[str] = []

    @engine.before_step
    async def before(ctx: Context) -> None:
        called.append(f"before {ctx.step.name}")

    @engine.after_step
    async def after(ctx: Context) -> None:
        called.append(f"after {ctx.step.name}")

    await engine.create_workflow("w", {}, [Undoable("one"), Sleepy("two")])
    await engine.run("w")
    with pytest.raises(StepError, match=r"undo returned Sleep\(seconds=2\); return None: an undo can't wait"):
        await engine.rollback("w")
    await engine.rollback("w", skip_undo=True)
    assert called == ["before Undoable", "after Undoable", "before Sleepy", "after Sleepy"]


async def test_one_that_a_closing_engine_cuts_off_is_an_error_until_somebody_decides(
    engine: Engine, open_engine: OpenEngine, world: World
) -> None:
    closing = await open_engine(shutdown_grace=0.05)
    await engine.create_workflow("w", {}, [Undoable("one").using(on_interrupt="rerun")])
    await engine.run("w")
    world.gates["undo one"].clear()
    task = asyncio.create_task(closing.rollback("w"))
    await world.entered["undo one"].wait()
    await closing.close()
    with pytest.raises(StepError, match="interrupted, because the engine was closed"):
        await task
    workflow = await engine.get("w")
    assert (workflow.state, workflow.steps[0].state) == ("error", "interrupted")
    assert (await engine.recover()).started == ()
    world.gates["undo one"].set()
    assert (await engine.rollback("w")).state == "rolled_back"


async def test_one_that_was_stopped_can_be_passed_over(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Undoable("one"), Undoable("two")])
    await engine.run("w")
    world.gates["undo two"].clear()
    task = asyncio.create_task(engine.rollback("w"))
    await world.entered["undo two"].wait()
    await engine.stop("w")
    with pytest.raises(WorkflowStopped):
        await task
    workflow = await engine.rollback("w", skip_undo=True, actor="ada", reason="by hand")
    assert (workflow.state, [str(step.state) for step in workflow.steps]) == ("rolled_back", ["undone", "completed"])
    assert world.calls == ["one", "two", "undo two", "undo one"]
