"""Who acts on one workflow in the sweeps, and what a scenario is.

What the actor asked for and what it was told are marks, beside those of the steps.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from awfe import BaseStep, Engine, Handle, LockLost, StepError, WorkflowHalted
from tests.durability.sweep_steps import Stage, mates_of


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
        alone = replace(scenario, mates=0)
        self.mates = [Actor(engine, each, alone) for each in mates_of(name, scenario.mates)]

    async def told(self, what: str, answer: Awaitable[Any]) -> None:
        """Await an answer; marks what was asked before, and the answer after."""
        Stage.now.mark(self.name, f"ask {what}")
        try:
            state = getattr(await answer, "state", "-")
        except StepError:
            state = "error"
        except WorkflowHalted as halted:
            state = halted.state
        except LockLost:
            state = "-"
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

    async def begin_to_wait(self) -> None:
        """Let it run until it waits."""
        self.handle = await self.engine.start(self.name)
        while self.engine._steering.control.get(self.name) is not None:
            await asyncio.sleep(0.001)

    async def rest(self) -> None:
        """Open the gate, and wait until it rests."""
        Stage.now.gates[self.name].set()
        await self.told("rest", self.rested())

    async def begin_and_look(self) -> Any:
        """Let the engine look after all its runs are over: the polls of these lives are an hour apart."""
        self.handle = await self.engine.start(self.name)
        while self.engine._steering.control:
            await asyncio.sleep(0.001)
        await self.engine._steering.lookout.ring_for(self.engine._crew.owner)
        return await self.rested()

    async def rested(self) -> Any:
        """Return what its run came to."""
        assert self.handle is not None
        return await self.handle


async def nothing(_actor: Actor) -> None:
    """Stand for no arrival."""


@dataclass(frozen=True)
class Scenario:
    """One life: its steps, how it is prepared, and what is done to it while its calls are disturbed.

    `prepared`: what another engine brought it to. `arrive`: what the acting engine does undisturbed. `after`: the
    state that undisturbed acting leads to, None when the workflow is gone. `end`: where an operator brings it at last,
    and `context` what it has then, besides what steps and the history tell. `leave`: what the process does that dies,
    where it is prepared as an orphan. `child`: the workflow that a step of it begins. `mates`: how many others like it
    there are, whose moves are made when its are.
    """

    steps: tuple[BaseStep, ...]
    act: Callable[[Actor], Awaitable[None]]
    context: dict[str, Any]
    prepared: str = "created"
    arrive: Callable[[Actor], Awaitable[None]] = nothing
    deeds: tuple[Deed, ...] = ()
    after: str | None = "completed"
    settings: dict[str, Any] = field(default_factory=dict)
    end: str = "completed"
    leave: Callable[[Actor], Awaitable[None]] = Actor.begin
    child: "Scenario | None" = None
    mates: int = 0

    @property
    def alone(self) -> bool:
        """Whether its act takes up all that it finds, so that no other may be there."""
        return self.prepared == "orphan"
