"""The step of the model's machine: it does what its arguments say, and holds until it is told how to end."""

import asyncio
import copy
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, ClassVar

from awfe import BaseStep, Context, Retry, WaitFor
from tests.durability.model_values import Deed

# Longer than any test: a delay that only a verb ends.
_DELAY = 9.0


@dataclass
class Seen:
    """An attempt that began, and what it saw."""

    position: int
    attempt: int
    values: dict[str, Any]
    key: str


class Stage:
    """What the steps of one example did, and those that hold."""

    now: ClassVar["Stage"]

    def __init__(self) -> None:
        self.seen: defaultdict[str, list[Seen]] = defaultdict(list)
        self.held: dict[str, asyncio.Queue[str]] = {}
        self._changed = asyncio.Event()

    async def holds(self, name: str) -> None:
        """Return when a step of a workflow holds."""
        while name not in self.held:
            self._changed.clear()
            await self._changed.wait()

    async def hold(self, ctx: Context) -> str:
        """Wait to be told how to end, and save on the way."""
        told = self.held[ctx.workflow] = asyncio.Queue()
        self._changed.set()
        try:
            while (how := await told.get()) == "save":
                await ctx.checkpoint()
                told.task_done()
            return how
        finally:
            del self.held[ctx.workflow]

    async def tell(self, name: str, how: str) -> None:
        """Tell a step that holds what to do; returns when it has saved, where that is it."""
        told = self.held[name]
        told.put_nowait(how)
        if how == "save":
            await told.join()


@dataclass
class Act(BaseStep, name="tests.Act"):
    """Does what it is told."""

    first: list[list[str]] = field(default_factory=list)
    saves: bool = False
    then: list[list[str]] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    yields: bool = False

    @classmethod
    def of(cls, deed: Deed) -> "Act":
        """Make the step of a model's deed."""
        first, then = ([list(pair) for pair in pairs] for pairs in (deed.first, deed.then))
        return cls(first, deed.saves, then, list(deed.ends), deed.yields).using(
            # A longer delay would make the workflow wait, which the model does not know.
            retry=Retry(attempts=deed.tries, wait=_DELAY if deed.delay else 0.0, factor=1.0),
            on_error="skip" if deed.skips else "pause",
            on_interrupt="rerun" if deed.rerun else "pause",
        )

    async def work(self, ctx: Context) -> WaitFor | None:
        """Note what is seen, act, and end as this attempt does."""
        about = ctx.step
        Stage.now.seen[ctx.workflow].append(
            Seen(about.position, about.attempt, copy.deepcopy(dict(ctx)), about.key),
        )
        ctx.output(f"{about.position}.{about.attempt};")
        _act(ctx, self.first, "first")
        if self.saves:
            await ctx.checkpoint()
        _act(ctx, self.then, "then")
        end = self.ends[min(about.attempt, len(self.ends)) - 1]
        if end == "hold":
            try:
                end = await Stage.now.hold(ctx)
            except asyncio.CancelledError:
                if not self.yields:
                    raise
        if end == "fail":
            msg = f"{about.position}.{about.attempt} fails"
            raise ValueError(msg)
        return WaitFor("go") if end == "wait" else None


def _act(ctx: Context, operations: list[list[str]], when: str) -> None:
    stamp = f"{ctx.step.position}.{ctx.step.attempt} {when}"
    for operation, key in operations:
        if operation == "set":
            ctx[key] = stamp
        elif operation == "append":
            ctx.setdefault(key, []).append(stamp)
        else:
            ctx.pop(key, None)
