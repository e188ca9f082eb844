"""The steps of the sweeps' lives.

They leave marks in a file, written before anything else goes on: what a process did, whatever the database says later.
"""

import asyncio
import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from awfe import Again as LookAgain
from awfe import BaseStep, Context, Sleep, TransactionalStep, WaitFor
from awfe.domain.waits import Approving
from awfe.steps import Approval, SubWorkflow


class Stage:
    """Where the steps of this process leave their marks; `holding`: whether steps wait at their gates."""

    now: ClassVar["Stage"]

    def __init__(self, directory: Path, *, holding: bool) -> None:
        self.holding = holding
        self.entered: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.begun: dict[str, asyncio.Event] = {}
        self._directory = directory

    def mark(self, workflow: str, text: str) -> None:
        """Add a line to the marks of a workflow; it is written when this returns."""
        descriptor = os.open(self._directory / workflow, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, f"{text}\n".encode())
        os.close(descriptor)

    def mark_once(self, workflow: str, text: str) -> None:
        """Add a line that is not there yet."""
        if text.split() not in self.marks(workflow):
            self.mark(workflow, text)

    def marks(self, workflow: str) -> list[list[str]]:
        """Return the marks of a workflow, each split into words."""
        path = self._directory / workflow
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    async def hold(self, workflow: str, *, stubborn: bool) -> None:
        """Wait until the gate opens; a stubborn step does not let itself be cancelled."""
        self.entered[workflow].set()
        gate = self.gates[workflow]
        while self.holding and not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                if not stubborn:
                    raise


@dataclass
class Act(BaseStep, name="tests.sweep.Act"):
    """Leaves marks, saves so many checkpoints, fails in its first attempts, and sets values."""

    sets: dict[str, Any] = field(default_factory=dict)
    saves: int = 0
    fails: int = 0
    holds: bool = False
    stubborn: bool = False

    async def work(self, ctx: Context) -> None:
        """Do all that."""
        stage, name, attempt = Stage.now, ctx.workflow, ctx.step.attempt
        at = f"{ctx.step.position} {attempt}"
        stage.mark(name, f"begin {at}")
        if name in stage.begun:
            # A parent that is held up would find it at its end already: right too, but another life.
            await stage.begun[name].wait()
        for n in range(self.saves):
            ctx["saved"] = [*ctx.get("saved", []), f"{at} {n}"]
            await ctx.checkpoint()
            stage.mark(name, f"saved {at} {n}")
        ctx.update(self.sets)
        ctx[f"by{ctx.step.position}"] = attempt
        if self.holds:
            await stage.hold(name, stubborn=self.stubborn)
        if attempt <= self.fails:
            message = f"attempt {attempt} fails"
            raise ValueError(message)
        stage.mark(name, f"end {at}")


@dataclass
class Again(Act, name="tests.sweep.Again"):
    """The same, and may be repeated after an interruption."""

    on_interrupt = "rerun"


@dataclass
class Pay(TransactionalStep, name="tests.sweep.Pay"):
    """Writes a row, and fails in its first attempts; its code may run more than once in one of them."""

    sets: dict[str, Any] = field(default_factory=dict)
    fails: int = 0
    holds: bool = False

    async def work(self, ctx: Context, session: AsyncSession) -> None:
        """Do all that."""
        stage, name, attempt = Stage.now, ctx.workflow, ctx.step.attempt
        at = f"{ctx.step.position} {attempt}"
        stage.mark_once(name, f"begin {at}")
        await session.execute(_PAY, {"name": name, "position": ctx.step.position})
        ctx.update(self.sets)
        ctx[f"by{ctx.step.position}"] = attempt
        if self.holds:
            await stage.hold(name, stubborn=False)
        if attempt <= self.fails:
            message = f"attempt {attempt} fails"
            raise ValueError(message)
        stage.mark_once(name, f"end {at}")


@dataclass
class Waits(BaseStep, name="tests.sweep.Waits"):
    """Waits for a signal, else for no time at all, which is a wait all the same."""

    signal: str | None = None
    save_as: str | None = None

    async def work(self, ctx: Context) -> Sleep | WaitFor:
        """Wait."""
        _begin(ctx)
        _end(ctx)
        return Sleep(0) if self.signal is None else WaitFor(self.signal, save_as=self.save_as)


@dataclass
class Polls(BaseStep, name="tests.sweep.Polls"):
    """Looks twice."""

    async def work(self, ctx: Context) -> LookAgain | None:
        """Look."""
        if ctx.step.woken is None:
            _begin(ctx)
            ctx["looks"] = 1
            return LookAgain(0)
        ctx["looks"] += 1
        _end(ctx)
        return None


@dataclass
class Asks(Approval, name="tests.sweep.Asks"):
    """Asks for an approval."""

    async def work(self, ctx: Context) -> Approving:
        """Ask."""
        _begin(ctx)
        _end(ctx)
        return await super().work(ctx)


@dataclass
class Undoes(Act, name="tests.sweep.Undoes"):
    """Can be undone: leaves marks of that too, saves so many checkpoints, and fails up to that attempt."""

    undo_saves: int = 0
    undo_fails: int = 0

    async def undo(self, ctx: Context) -> None:
        """Undo it."""
        stage, name, at = Stage.now, ctx.workflow, _at(ctx)
        stage.mark(name, f"undo {at}")
        for n in range(self.undo_saves):
            ctx["saved"] = [*ctx.get("saved", []), f"{at} {n}"]
            await ctx.checkpoint()
            stage.mark(name, f"saved {at} {n}")
        _undone(ctx)
        if ctx.step.attempt <= self.undo_fails:
            message = f"attempt {ctx.step.attempt} fails"
            raise ValueError(message)
        stage.mark(name, f"undone {at}")


@dataclass
class Sub(SubWorkflow, name="tests.sweep.Sub"):
    """A workflow of its own, whose name comes from its parent's."""

    async def work(self, ctx: Context) -> LookAgain | None:
        """Begin it, or look what became of it."""
        if ctx.step.woken is None:
            _begin(ctx)
        begun = Stage.now.begun[self._named(ctx)] = asyncio.Event()
        try:
            outcome = await super().work(ctx)
        finally:
            begun.set()
        if outcome is None:
            _end(ctx)
        return outcome

    async def undo(self, ctx: Context) -> None:
        """Roll it back."""
        Stage.now.mark(ctx.workflow, f"undo {_at(ctx)}")
        await super().undo(ctx)
        _undone(ctx)
        Stage.now.mark(ctx.workflow, f"undone {_at(ctx)}")

    def _named(self, ctx: Context) -> str:
        return child_of(ctx.workflow)


def child_of(name: str) -> str:
    """Return the name of the workflow that a step of this one begins."""
    return f"{name}-child"


def mates_of(name: str, count: int) -> list[str]:
    """Return the names of so many workflows that are there beside this one."""
    return [f"{name}-mate{n}" for n in range(1, count + 1)]


def _at(ctx: Context) -> str:
    return f"{ctx.step.position} {ctx.step.attempt}"


def _begin(ctx: Context) -> None:
    Stage.now.mark(ctx.workflow, f"begin {_at(ctx)}")


def _end(ctx: Context) -> None:
    ctx[f"by{ctx.step.position}"] = ctx.step.attempt
    Stage.now.mark(ctx.workflow, f"end {_at(ctx)}")


def _undone(ctx: Context) -> None:
    ctx["undone"] = [*ctx.get("undone", []), _at(ctx)]


PAID = "CREATE TABLE IF NOT EXISTS sweep_paid (name VARCHAR(200) NOT NULL, position INTEGER NOT NULL)"
_PAY = text("INSERT INTO sweep_paid (name, position) VALUES (:name, :position)")
