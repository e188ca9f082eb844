"""Lives of workflows that wait, are sent signals and are rolled back, for those who check what is written of them."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any

import pytest

from awfe import Again, BaseStep, Context, Engine, Retry, Sleep, WaitFor, WorkflowError
from awfe.domain.waits import Approving

FAR = 3_600.0


class Failures:
    """How often the steps of this file still fail."""

    work = 0
    undo = 0


class Signalled(BaseStep, name="tests.waiting.Signalled"):
    """Waits for a signal; its undo fails as often as the test wants."""

    async def work(self, ctx: Context) -> WaitFor:
        """Wait."""
        ctx["asked"] = ctx.step.position
        return WaitFor("go", save_as=f"go{ctx.step.position}")

    async def undo(self, ctx: Context) -> None:
        """Undo it, sooner or later."""
        await ctx.checkpoint()
        ctx["undone"] = [*ctx.get("undone", []), ctx.step.position]
        if Failures.undo:
            Failures.undo -= 1
            msg = "not yet"
            raise OSError(msg)


class Polls(BaseStep, name="tests.waiting.Polls"):
    """Looks again when it is told to, or in a moment for the first time."""

    async def work(self, ctx: Context) -> Again | None:
        """Look."""
        ctx["looked"] = ctx.get("looked", 0) + 1
        return None if ctx.step.woken == "signal" else Again(0.01 if ctx["looked"] == 1 else FAR, "look")

    async def undo(self, ctx: Context) -> None:
        """Undo it."""
        del ctx["looked"]


class Asks(BaseStep, name="tests.waiting.Asks"):
    """Asks for an approval."""

    async def work(self, ctx: Context) -> Any:
        """Wait."""
        ctx["asked"] = True
        return Approving("answer", save_as="answer")


class Sleeps(BaseStep, name="tests.waiting.Sleeps"):
    """Sleeps for longer than any test."""

    async def work(self, ctx: Context) -> Sleep:
        """Sleep."""
        ctx["slept"] = ctx.step.attempt
        return Sleep(FAR)


class TimesOut(BaseStep, name="tests.waiting.TimesOut"):
    """Waits for what does not come."""

    async def work(self, ctx: Context) -> WaitFor:
        """Wait."""
        ctx["asked"] = ctx.step.position
        return WaitFor("never", 0.01, default=None)


class Fails(BaseStep, name="tests.waiting.Fails"):
    """Fails as often as the test wants, and is tried again in an hour."""

    retry = Retry(attempts=3, wait=FAR)

    async def work(self, ctx: Context) -> None:
        """Fail."""
        ctx["tried"] = ctx.step.attempt
        if Failures.work:
            Failures.work -= 1
            msg = "not yet"
            raise OSError(msg)


class Begins(BaseStep, name="tests.waiting.Begins"):
    """Begins a workflow of its own, and waits for its end."""

    async def work(self, ctx: Context) -> Again | None:
        """Wait for it."""
        child = await ctx.child(f"{ctx.workflow}/child", {"part": 1}, [Fails])
        return None if child.state == "completed" else Again(FAR, "awfe.child")


STEPS: list[Any] = [Signalled, Polls, Asks, Sleeps, TimesOut, Fails, Begins]


async def comes_to(engine: Engine, name: str, state: str, position: int | None) -> None:
    """Return when a workflow is there, and nobody is about to run it."""
    async with asyncio.timeout(60):
        while (now := await engine.get(name)).state != state or now.position != position:
            await asyncio.sleep(0.005)


async def awaited(awaitable: Awaitable[object]) -> None:
    """Await what somebody else halts."""
    with pytest.raises(WorkflowError):
        await awaitable


async def waited(engine: Engine, name: str) -> None:
    """Let a workflow wait in every way, be halted in the middle of it, and come to its end."""
    Failures.work = 2
    await engine.create_workflow(name, {}, STEPS, at=datetime.now(UTC))
    for n in (1, 2):
        await engine.signal(name, "go", {"n": n}, actor="ann")
    await engine.recover()
    await comes_to(engine, name, "waiting", 2)
    await engine.signal(name, "look")
    await comes_to(engine, name, "waiting", 3)
    await engine.approve(name, actor="ann", comment="fine")
    await comes_to(engine, name, "waiting", 4)
    await engine.pause(name, actor="ann")
    await engine.update_context(name, {"edited": 1})
    await engine.skip(name, context={"slept": "by hand"})
    handle = await engine.start(name)
    await comes_to(engine, name, "waiting", 6)
    await engine.stop(name)
    await awaited(handle)
    await engine.reset(name)
    handle = await engine.start(name)
    await comes_to(engine, name, "waiting", 6)
    await engine.pause(name)
    await awaited(handle)
    await engine.run(name)


async def undone(engine: Engine, name: str) -> None:
    """Let a workflow be rejected, begun anew, rolled back with an undo that fails, and gone on with."""
    Failures.work, Failures.undo = 0, 1
    await engine.create_workflow(name, {}, [Signalled, Polls, Signalled, Asks, Sleeps])
    await engine.signal(name, "go")
    await engine.start(name)
    await engine.signal(name, "look")
    await comes_to(engine, name, "waiting", 3)
    await engine.pause(name)
    await engine.update_context(name, {"edited": 1})
    await engine.reset(name, from_step=2)
    await engine.start(name)
    await engine.signal(name, "look")
    await engine.signal(name, "go")
    await comes_to(engine, name, "waiting", 4)
    await engine.reject(name, actor="bob", comment="no")
    await engine.skip(name)
    await engine.start(name)
    await comes_to(engine, name, "waiting", 5)
    await engine.pause(name)
    # The third step's undo fails at first, then is done; the second's too, and then the first's.
    await awaited(engine.rollback(name))
    await engine.rollback(name)


async def half_undone(engine: Engine, name: str) -> None:
    """Let the only undo of a workflow fail, be passed over, and leave it rolled back."""
    Failures.undo = 1
    await engine.create_workflow(name, {}, [Signalled, Sleeps])
    await engine.signal(name, "go")
    await engine.start(name)
    await comes_to(engine, name, "waiting", 2)
    await engine.stop(name)
    await awaited(engine.rollback(name, include_current=True))
    await engine.rollback(name, skip_undo=True)
