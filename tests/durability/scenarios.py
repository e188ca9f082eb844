"""What the sweeps disturb at each of its calls to the database: short lives of one workflow, and the steps they run.

A scenario is acted by `Actor`, in a process that is about to die or in one whose calls fail. Steps and actor leave
marks in a file, written before anything else goes on: what the process was told, whatever the database says later.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from awfe import BaseStep, Context, Engine, Handle, Retry, StepError, TransactionalStep, WorkflowHalted


class Stage:
    """Where the steps of this process leave their marks; `holding`: whether steps wait at their gates."""

    now: ClassVar["Stage"]

    def __init__(self, directory: Path, *, holding: bool) -> None:
        self.holding = holding
        self.entered: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
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


PAID = "CREATE TABLE IF NOT EXISTS sweep_paid (name VARCHAR(200) NOT NULL, position INTEGER NOT NULL)"
_PAY = text("INSERT INTO sweep_paid (name, position) VALUES (:name, :position)")


@dataclass(frozen=True)
class Deed:
    """A verb that leaves one line in the history, of this cause; an operator repeats it when it is not there."""

    verb: str
    cause: str
    arguments: dict[str, Any] = field(default_factory=dict)


class Actor:
    """Acts on one workflow; what it asked for and what it was told are marks."""

    def __init__(self, engine: Engine, name: str, scenario: "Scenario") -> None:
        self.engine = engine
        self.name = name
        self.scenario = scenario
        self.handle: Handle | None = None

    async def told(self, what: str, answer: Awaitable[Any]) -> None:
        """Await an answer; marks what was asked before, and the answer after."""
        Stage.now.mark(self.name, f"ask {what}")
        try:
            state = getattr(await answer, "state", "-")
        except StepError:
            state = "error"
        except WorkflowHalted as halted:
            state = halted.state
        Stage.now.mark(self.name, f"ack {what} {state}")

    async def do(self, deed: Deed) -> None:
        """Do it."""
        await self.told(deed.cause, getattr(self.engine, deed.verb)(self.name, **deed.arguments))

    async def run(self) -> None:
        """Do all deeds of the scenario, then run."""
        for deed in self.scenario.deeds:
            await self.do(deed)
        await self.told("run", self.engine.run(self.name))

    async def begin(self) -> None:
        """Let it run until its held step waits."""
        self.handle = await self.engine.start(self.name)
        await Stage.now.entered[self.name].wait()

    async def rest(self) -> None:
        """Open the gate, and wait until it rests."""
        Stage.now.gates[self.name].set()
        await self.told("rest", self._rested())

    async def _rested(self) -> Any:
        assert self.handle is not None
        return await self.handle


async def _nothing(_actor: Actor) -> None:
    """Stand for no arrival."""


@dataclass(frozen=True)
class Scenario:
    """One life: its steps, how it is prepared, and what is done to it while its calls are disturbed.

    `prepared`: what another engine brought it to. `arrive`: what the acting engine does undisturbed. `after`: the
    state that undisturbed acting leads to, None when the workflow is gone. `context`: what it has in the end, when an
    operator has brought it to its completion, besides what steps and the history tell.
    """

    steps: tuple[BaseStep, ...]
    act: Callable[[Actor], Awaitable[None]]
    context: dict[str, Any]
    prepared: str = "created"
    arrive: Callable[[Actor], Awaitable[None]] = _nothing
    deeds: tuple[Deed, ...] = ()
    after: str | None = "completed"
    settings: dict[str, Any] = field(default_factory=dict)


async def _pause(actor: Actor) -> None:
    await actor.do(Deed("pause", "pause"))
    await actor.rest()


async def _stop(actor: Actor) -> None:
    await actor.do(Deed("stop", "stop"))
    await actor.rest()


async def _fence(actor: Actor) -> None:
    await actor.do(Deed("stop", "stop", {"grace": 0}))
    await actor.told("rest", actor._rested())
    Stage.now.gates[actor.name].set()


async def _delete(actor: Actor) -> None:
    await actor.do(actor.scenario.deeds[0])


async def _recover(actor: Actor) -> None:
    Stage.now.gates[actor.name].set()
    await actor.told("recover", actor.engine.recover())
    await actor.told("wait", actor.engine.wait(actor.name))


async def _close(actor: Actor) -> None:
    await actor.told("close", actor.engine.close())


async def _close_between(actor: Actor) -> None:
    closing = asyncio.ensure_future(_close(actor))
    await asyncio.sleep(0)
    Stage.now.gates[actor.name].set()
    await closing


START = {"start": 0}
A, B, C = Act({"a": 1}), Act({"b": 2}), Act({"c": 3})
ALL = {"start": 0, "a": 1, "b": 2, "c": 3}
HELD = (A, Act({"b": 2}, holds=True), C)
SOON = {"shutdown_grace": 0.0}


def _between(cls: type[Act] = Act, **about: Any) -> tuple[BaseStep, ...]:
    return (A, cls({"b": 2}, **about), C)


def _run_after(deed: Deed, context: dict[str, Any], prepared: str = "error", **about: Any) -> Scenario:
    steps = _between(fails=1) if prepared == "error" else _between()
    return Scenario(steps, Actor.run, context, prepared=prepared, deeds=(deed,), **about)


SCENARIOS: dict[str, Scenario] = {
    "run": Scenario(
        _between(),
        Actor.run,
        ALL,
        prepared="nothing",
        deeds=(Deed("create_workflow", "created", {"context": START, "steps": _between()}),),
    ),
    "checkpoints": Scenario((Act({"a": 1}, saves=2), B), Actor.run, {"start": 0, "a": 1, "b": 2}),
    "fails": Scenario(_between(fails=1), Actor.run, ALL, after="error"),
    "retries": Scenario((A, Act({"b": 2}, fails=2).using(retry=Retry(attempts=3, wait=0.0)), C), Actor.run, ALL),
    "delays": Scenario((A, Act({"b": 2}, fails=1).using(retry=Retry(attempts=2, wait=0.01)), C), Actor.run, ALL),
    "passes": Scenario((A, Act({"b": 2}, fails=99).using(on_error="skip"), C), Actor.run, {"start": 0, "a": 1, "c": 3}),
    "pause": Scenario(HELD, _pause, ALL, arrive=Actor.begin, after="paused"),
    "stop": Scenario(HELD, _stop, ALL, arrive=Actor.begin, after="stopped"),
    "fence": Scenario(_between(holds=True, stubborn=True), _fence, ALL, arrive=Actor.begin, after="stopped"),
    "reset": _run_after(Deed("reset", "reset", {"keep_context": True, "context": {"mended": 1}}), {**ALL, "mended": 1}),
    "reset_from": _run_after(
        Deed("reset", "reset_from", {"from_step": 2, "context": {"again": 1}}), {**ALL, "again": 1}, "completed"
    ),
    "skip": _run_after(Deed("skip", "skip", {"context": {"by_hand": 1}}), {"start": 0, "a": 1, "c": 3, "by_hand": 1}),
    "update_context": _run_after(
        Deed("update_context", "update_context", {"values": {"edited": 1}, "unset": ("start",)}),
        {"a": 1, "b": 2, "c": 3, "edited": 1},
        "created",
    ),
    "delete": Scenario(_between(), _delete, {}, prepared="completed", deeds=(Deed("delete", "delete"),), after=None),
    "recover": Scenario(HELD, _recover, ALL, prepared="orphan", after="error"),
    "rerun": Scenario(_between(Again, holds=True), _recover, ALL, prepared="orphan"),
    "close": Scenario(HELD, _close, ALL, arrive=Actor.begin, after="error", settings=SOON),
    "close_rerun": Scenario(
        _between(Again, holds=True), _close, ALL, arrive=Actor.begin, after="paused", settings=SOON
    ),
    "pays": Scenario((A, Pay({"b": 2}), Pay({"c": 3})), Actor.run, ALL),
    "pays_not": Scenario((A, Pay({"b": 2}, fails=1), C), Actor.run, ALL, after="error"),
    "pays_again": Scenario((A, Pay({"b": 2}, fails=1).using(retry=Retry(attempts=2, wait=0.0)), C), Actor.run, ALL),
    "pays_later": Scenario((A, Pay({"b": 2}, holds=True), C), _recover, ALL, prepared="orphan"),
    "pays_not_yet": Scenario(
        (A, Pay({"b": 2}, holds=True), C), _close, ALL, arrive=Actor.begin, after="paused", settings=SOON
    ),
    "close_between": Scenario(HELD, _close_between, ALL, arrive=Actor.begin, after="paused"),
}
