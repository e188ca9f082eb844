"""Programs that use awfe, for type checkers: what is wrong in one of them must be found.

It is read, not run. Each `type: ignore` stands where an error is wanted; those that are not needed are errors.
"""

from dataclasses import dataclass
from typing import Any, assert_type

from awfe import (
    BaseStep,
    Context,
    Diff,
    Engine,
    Event,
    Handle,
    Recovered,
    Retry,
    Sleep,
    StepDiff,
    StepLike,
    WaitFor,
    Workflow,
    WorkflowState,
    WorkflowSummary,
    step,
)
from awfe.testing import FakeClock, StepRun, assert_workflow, reached, run_step


@step
async def greet(ctx: Context, name: str, *, loud: bool = False) -> None:
    """Take arguments of these types, and no others."""
    ctx["greeting"] = f"hello {name}{'!' if loud else ''}"


@step(name="typing.rest", timeout=5, retry=Retry(attempts=2))
async def rest(ctx: Context, seconds: float) -> Sleep | WaitFor:
    """Wait."""
    return Sleep(seconds) if ctx.step.attempt == 1 else WaitFor("go")


@step  # type: ignore[arg-type]  # it returns what no step may
async def wrong(ctx: Context) -> int:
    """Return a number."""
    return len(ctx)


@dataclass
class Announce(BaseStep, name="typing.Announce", aliases=("typing.Mail",)):
    """A step with an argument."""

    text: str
    on_interrupt = "rerun"

    async def work(self, ctx: Context) -> None:
        """Announce it."""
        ctx.output(self.text)
        await ctx.checkpoint()


class Poll(BaseStep):
    """A step that can't be what a step is."""

    on_error = "ignore"  # type: ignore[assignment]

    async def work(self, ctx: Context) -> bool:  # type: ignore[override]
        """Return a flag."""
        return bool(ctx)


async def verbs(engine: Engine) -> None:
    """Call each verb with what it takes."""
    steps: list[StepLike] = [greet("ann", loud=True), rest(3), Announce("x").using(timeout=3), Poll]
    assert_type(greet("ann"), BaseStep)
    assert_type(Announce("x").using(timeout=3), Announce)
    assert_type(await engine.create_workflow("w", {"n": 1}, steps), Workflow)
    assert_type(await engine.start("w", actor="ann"), Handle)
    assert_type(await engine.run("w"), Workflow)
    assert_type((await engine.run("w")).state, WorkflowState)
    assert_type((await engine.run("w")).context, dict[str, Any])
    assert_type(await engine.list(state="error"), list[WorkflowSummary])
    assert_type(await engine.history("w"), list[Event])
    assert_type(await engine.recover(), Recovered)
    assert_type(await engine.diff("w", steps), Diff)
    assert_type((await engine.diff("w", steps)).changed, tuple[StepDiff, ...])
    assert_type(await engine.replace_steps("w", steps, actor="ann", reason="so"), Workflow)
    greet(1)  # type: ignore[arg-type]
    greet("ann", loud="yes")  # type: ignore[arg-type]
    greet()  # type: ignore[call-arg]
    rest(seconds=3, minutes=1)  # type: ignore[call-arg]
    Announce(7)  # type: ignore[arg-type]
    await engine.create_workflow("w", {}, ["step"])  # type: ignore[list-item]
    await engine.create_workflow("w", {}, [Announce])  # type: ignore[list-item]
    await engine.run(7)  # type: ignore[arg-type]
    await engine.reset("w", from_step="1")  # type: ignore[arg-type]
    (await engine.get("w")).state = WorkflowState.PAUSED  # type: ignore[misc]


async def tests(engine: Engine) -> None:
    """Test a program."""
    assert_type(await run_step(greet("ann"), {"n": 1}), StepRun)
    assert_type(await reached(engine, "w", "waiting", step=2), Workflow)
    async with FakeClock(engine) as clock:
        assert_type(clock, FakeClock)
        await clock.advance("1 day")  # type: ignore[arg-type]
    assert_workflow(await engine.get("w"), steps=["completed"], context={"n": 1})
    assert_workflow("w")  # type: ignore[arg-type]
