"""The model's machine but for its rules: a call is made, and what it does is held against what the model says."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from hypothesis.stateful import RuleBasedStateMachine

from awfe import AwfeError, Engine, EngineNotOpen, Plan, StepError, StoreUnavailable, Workflow, WorkflowHalted
from awfe.testing.invariants import violations
from tests.durability import model, model_halts
from tests.durability.acting import Stage
from tests.durability.bench import MAX_INTERRUPTS, Bench, expected, line, same, shown
from tests.durability.model_verbs import Refused

NAMES = ("a", "b", "c")
ACTOR = "ann"
PATIENCE = 5.0


@dataclass
class Awaited:
    """Somebody who awaits a run: in `run`, with a handle, or in `wait`."""

    task: "asyncio.Task[Workflow]"
    engine: int
    how: str
    cancelled: bool = False


class Machine(RuleBasedStateMachine):
    """Holds two engines against the model, for one example."""

    bench: ClassVar[Bench]
    # Whether the example before this one has left nothing behind.
    clean: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[str, model.Workflow] = {}
        self.awaited: dict[str, Awaited] = {}
        self.keys: dict[tuple[str, int, int, int], str] = {}
        self.ages = dict.fromkeys(NAMES, 0)
        self.woken: set[str] = set()
        self.plans = 0
        self.bench.begin(clean=type(self).clean)
        type(self).clean = False

    def engine(self, index: int) -> Engine:
        """Return an engine."""
        return self.bench.engines[index]

    # --- calls

    def call(
        self,
        name: str,
        act: Callable[[], Awaitable[Any]],
        foresee: Callable[[model.Workflow], object],
        plan: Callable[[], Awaitable[Plan]] | None = None,
        *,
        settles: bool = True,
    ) -> None:
        """Make a call about a workflow, and compare its plan, its error, or else what it does, with the model's."""
        refused = self.foresee(name, foresee, settles=settles)
        if plan is not None:
            self.planned(plan, refused)
        if refused is not None:
            self.refused(refused, act)
        else:
            result = self.bench.run(_awaited(act))
            self.compare(name, result if isinstance(result, Workflow) else None)

    def foresee(self, name: str, foresee: Callable[[model.Workflow], object], *, settles: bool = True) -> str | None:
        """Let the model do something; returns the error where that is refused, and changes nothing.

        An orphan is brought to rest by whichever verb `settles` it.
        """
        workflow = self.models.get(name)
        if workflow is None:
            return "WorkflowNotFound"
        if settles and workflow.state == "running" and workflow.runner is None:
            model_halts.take_over(workflow, MAX_INTERRUPTS)
        try:
            foresee(workflow)
        except Refused as refusal:
            return refusal.error
        return None

    def planned(self, plan: Callable[[], Awaitable[Plan]], refused: str | None) -> None:
        """See that what is about to be done is planned as the model foresees it: done, or refused for that reason.

        Each second time: of each verb in each state tests/conformance/test_planning.py shows it.
        """
        self.plans += refused != "WorkflowNotFound"
        if refused != "WorkflowNotFound" and self.plans % 2:
            same("the plan's error", self.bench.run(_awaited(plan)).error, refused)

    def refused(self, error: str, act: Callable[[], Awaitable[Any]]) -> None:
        """Make a call that is refused; what it changes all the same, the next comparison shows."""
        with pytest.raises(AwfeError) as raised:
            self.bench.run(_awaited(act))
        same("the refusal", type(raised.value).__name__, error)

    def follow(self, name: str, engine: int, how: str, awaitable: Awaitable[Workflow]) -> None:
        """Await a run beside the test."""
        self.awaited[name] = Awaited(self.bench.follow(f"{how} {name}", awaitable), engine, how)

    # --- comparisons

    def compare(self, name: str, known: Workflow | None = None) -> None:
        """Compare a workflow as a verb returned it, else with `get`, when its run stands where the model's does."""
        self.bench.run(self._compare(name, known))

    async def _compare(self, name: str, known: Workflow | None) -> None:
        workflow = self.models.get(name)
        engine = self.engine(len(self.keys) % 2)
        if workflow is None:
            with pytest.raises(AwfeError, match="there is no workflow"):
                await engine.get(name)
            return
        known = await self._stands(name, workflow) or known or await engine.get(name)
        if workflow.delayed or workflow.state == "waiting" or name in self.woken:
            # Nothing tells that it waits, or that it goes on because its signal has come.
            self.woken.discard(name)
            until = time.monotonic() + PATIENCE
            while known.revision != workflow.revision and time.monotonic() < until:
                await asyncio.sleep(0.01)
                known = await engine.get(name)
        if workflow.waiter is not None:
            # Who attaches to what waits changes nothing that is shown.
            while self.engine(workflow.waiter[0])._steering.control.waiting.get(name) is None:
                await asyncio.sleep(0.001)
        same(f"workflow {name}", shown(known), expected(workflow))
        self._compare_begun(name, workflow)

    async def _stands(self, name: str, workflow: model.Workflow) -> Workflow | None:
        """Return when a run stands where the model's does, with what who awaits it got."""
        awaited = self.awaited.get(name)
        if workflow.state not in ("running", "waiting"):
            if awaited is not None:
                del self.awaited[name]
                return await _end(awaited, workflow)
        elif workflow.holding and workflow.runner is not None:
            holds = asyncio.create_task(Stage.now.holds(name))
            await asyncio.wait({holds} | ({awaited.task} if awaited else set()), return_when="FIRST_COMPLETED")
            assert holds.done(), "it came to rest where it was to hold"
        return None

    def _compare_begun(self, name: str, workflow: model.Workflow) -> None:
        seen, Stage.now.seen[name] = Stage.now.seen[name], []
        begun, workflow.begun = workflow.begun, []
        told = [(each.position, each.attempt, each.values) for each in seen]
        same(f"the attempts of {name} that began", told, [(each.position, each.attempt, each.values) for each in begun])
        for each, here in zip(seen, begun, strict=True):
            key = self.keys.setdefault((name, self.ages[name], here.position, here.line), each.key)
            same(f"the idempotency key of {name} at {here}", each.key, key)
        assert len(set(self.keys.values())) == len(self.keys), "two steps have one idempotency key"

    async def compare_all(self) -> None:
        """Compare what is shown of all workflows together, and their histories."""
        engine = self.engine(0)
        listed = {each.name: (each.state, each.position, each.request, each.error) for each in await engine.list()}
        same("the list", listed, {name: _summary(workflow) for name, workflow in self.models.items()})
        states = [workflow.state for workflow in self.models.values()]
        stats = {str(state): count for state, count in (await engine.stats()).items() if count}
        same("the statistics", stats, {state: states.count(state) for state in states})
        for name in self.models:
            await self.compare_history(name)

    async def compare_history(self, name: str) -> None:
        """Compare all that ever happened to a workflow."""
        lines = [line(event, self.bench.owners) for event in await self.engine(0).history(name)]
        wanted = self.models[name].history
        same(f"the history of {name}", dict(enumerate(lines)), dict(enumerate(wanted)))

    def teardown(self) -> None:
        """Compare everything once more, and bring everything to rest."""
        if sys.exception() is None:
            self.bench.run(self.compare_all())
            for name in self.models:
                self.compare(name)
            same("violated invariants", self.bench.run(violations(self.bench.url)), [])
            self.bench.run(self._rest())
            type(self).clean = True

    async def _rest(self) -> None:
        for name, workflow in self.models.items():
            if workflow.runner is not None or workflow.state == "waiting":
                await self.engine(workflow.runner or 0).stop(name)
                await self.engine(workflow.runner or 0).wait(name)


async def _awaited(act: Callable[[], Awaitable[Any]]) -> Any:
    return await act()


async def _end(awaited: Awaited, workflow: model.Workflow) -> Workflow | None:
    """Compare what somebody gets who awaits a run, and return the workflow when that is it."""
    await asyncio.wait({awaited.task})
    if awaited.task.cancelled():
        assert awaited.cancelled, "somebody else cancelled it"
        return None
    error = awaited.task.exception()
    if error is None:
        assert awaited.how == "wait" or workflow.state == "completed", "it was to raise"
        return awaited.task.result()
    if isinstance(error, WorkflowHalted):
        assert awaited.how != "wait", "a wait never raises that"
        same("where it halted", error.state, workflow.state)
    elif isinstance(error, StepError):
        same("the failed step", (workflow.state, error.position, error.step), ("error", workflow.position, "Act"))
        same("the cause", f"ValueError: {error.__cause__}", workflow.last[error.position].error)
    else:
        raise error
    return None


async def crashed(awaited: Awaited) -> None:
    """See that somebody who awaits a run is told of the engine's end."""
    with pytest.raises((StoreUnavailable, EngineNotOpen)):
        await awaited.task


def _summary(workflow: model.Workflow) -> tuple[str, int | None, str | None, str | None]:
    error = workflow.last[workflow.at].error if workflow.state == "error" else None
    return workflow.state, workflow.position, workflow.request, error
