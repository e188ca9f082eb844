"""Steps that wait, and steps that can be undone."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from awfe import Again, BaseStep, Context, Sleep, Until, WaitFor
from tests.conformance.steps import Hold, Note, World

# Long enough that a test would time out if it had to wait for it.
FAR = 3_600.0


@dataclass
class Nap(Note, name="tests.Nap"):
    """Notes that it ran, and sleeps."""

    seconds: float = FAR
    text: str = ""

    async def work(self, ctx: Context) -> Sleep:  # type: ignore[override]  # it does not return None
        """Sleep."""
        await super().work(ctx)
        if self.text:
            ctx.output(self.text)
        return Sleep(self.seconds)


@dataclass
class Await(Note, name="tests.Await"):
    """Notes that it ran, and waits for a signal."""

    topic: str = "go"
    limit: float | None = None
    save_as: str | None = None
    otherwise: list[Any] = field(default_factory=list)

    async def work(self, ctx: Context) -> WaitFor:  # type: ignore[override]  # it does not return None
        """Wait."""
        await super().work(ctx)
        defaults = {"default": self.otherwise[0]} if self.otherwise else {}
        return WaitFor(self.topic, self.limit, save_as=self.save_as, **defaults)


@dataclass
class Poll(BaseStep, name="tests.Poll"):
    """Looks again and again, until it was called so many times or a signal has come."""

    name: str
    times: int
    after: float = 0.01
    topic: str | None = None

    async def work(self, ctx: Context) -> Again | None:
        """Look."""
        World.now.calls.append(self.name)
        World.now.keys.append(f"{ctx.step.attempt} {ctx.step.woken}")
        ctx["looked"] = ctx.get("looked", 0) + 1
        if ctx["looked"] >= self.times or ctx.step.woken == "signal":
            return None
        return Again(self.after, self.topic)


class Soon(BaseStep, name="tests.Soon"):
    """Sleeps until a time."""

    async def work(self, ctx: Context) -> Until:
        """Sleep."""
        ctx["slept"] = True
        return Until(datetime.now(UTC) + timedelta(seconds=0.05))


@dataclass
class HoldOrWait(Hold, name="tests.HoldOrWait"):
    """Waits until the test opens its gate, or, when it is told so, for a signal."""

    async def work(self, ctx: Context) -> WaitFor | None:  # type: ignore[override]  # it may wait
        """Wait."""
        if self.name not in World.now.waiting:
            await super().work(ctx)
            return None
        World.now.calls.append(self.name)
        World.now.entered[self.name].set()
        return WaitFor("go")


@dataclass
class Undoable(Note, name="tests.Undoable"):
    """Notes what it does, and what it undoes."""

    async def undo(self, ctx: Context) -> None:
        """Undo it."""
        world = World.now
        what = f"undo {self.name}"
        world.calls.append(what)
        ctx[f"undone_{self.name}"] = ctx.step.attempt
        if what in world.gates:
            world.entered[what].set()
            await world.gates[what].wait()
        if error := world.failing.get(what):
            raise error
