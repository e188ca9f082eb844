"""The steps that the conformance tests run; `World` lets a test watch and hold them."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, ClassVar

from awfe import BaseStep, Context, step


class World:
    """What the steps of one test did, and the gates at which they wait."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.entered: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.failing: dict[str, BaseException] = {}
        self.keys: list[str] = []
        self.cleaned: list[str] = []
        self.waiting: set[str] = set()

    now: ClassVar["World"]


@dataclass
class Note(BaseStep):
    """Notes that it ran, and sets values in the context."""

    name: str
    values: dict[str, Any] = field(default_factory=dict)

    async def work(self, ctx: Context) -> None:
        """Note it."""
        World.now.calls.append(self.name)
        World.now.keys.append(ctx.step.key)
        ctx.update(self.values)
        if error := World.now.failing.get(self.name):
            raise error


@dataclass
class Hold(BaseStep):
    """Waits until the test opens its gate."""

    name: str
    values: dict[str, Any] = field(default_factory=dict)
    checkpoint: dict[str, Any] | None = None

    async def work(self, ctx: Context) -> None:
        """Wait."""
        World.now.calls.append(self.name)
        if self.checkpoint is not None:
            ctx.update(self.checkpoint)
            await ctx.checkpoint()
        ctx.update(self.values)
        World.now.entered[self.name].set()
        if error := World.now.failing.get(self.name):
            raise error
        try:
            await World.now.gates[self.name].wait()
        finally:
            await asyncio.sleep(0)
            World.now.cleaned.append(self.name)


@dataclass
class Rerun(Hold, name="tests.Rerun"):
    """A step that may be repeated."""

    on_interrupt = "rerun"


@dataclass
class Stubborn(BaseStep):
    """Does not end when it is cancelled."""

    name: str
    checkpoint: bool = False

    async def work(self, ctx: Context) -> None:
        """Swallow every cancellation until the gate opens."""
        World.now.calls.append(self.name)
        World.now.entered[self.name].set()
        while not World.now.gates[self.name].is_set():
            try:
                await World.now.gates[self.name].wait()
            except asyncio.CancelledError:
                World.now.cleaned.append(self.name)
        if self.checkpoint:
            ctx["late"] = True
            try:
                await ctx.checkpoint()
            except BaseException as error:
                World.now.failing["late"] = error
                raise


@dataclass
class Flaky(BaseStep):
    """Fails as often as it is told, then succeeds."""

    name: str
    failures: int

    async def work(self, ctx: Context) -> None:
        """Fail, or not."""
        World.now.calls.append(self.name)
        World.now.keys.append(ctx.step.key)
        ctx["tries"] = ctx.get("tries", 0) + 1
        if len([call for call in World.now.calls if call == self.name]) <= self.failures:
            message = f"{self.name} fails"
            raise ValueError(message)


@step
async def append(ctx: Context, item: int) -> None:
    """Change a value that was handed out, in place."""
    ctx.setdefault("items", []).append(item)
