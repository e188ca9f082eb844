"""Who prepares the workflows of a sweep, and brings to its end what a disturbed engine has left."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from awfe import Engine, InvalidState, StepError, Workflow, WorkflowNotFound
from tests.databases import Rows, execute
from tests.durability import sweep_check
from tests.durability.scenarios import SCENARIOS, START
from tests.durability.sweep_actor import Scenario
from tests.durability.sweep_check import Left, Life
from tests.durability.sweep_steps import PAID, Asks, Stage, child_of, mates_of

# A step that was interrupted, and one that fails once.
_TRIES = 3
# How often a run is looked at that may have come to a wait.
_LOOK = 0.03


class Operator:
    """Works on the workflows of one scenario with an engine of his own; `problems` are what he found wrong.

    `crash_in_a_step` makes a process, or what imitates one, die in the middle of a workflow's held step.
    """

    def __init__(self, engine: Engine, scenario: str, crash_in_a_step: Callable[[str], Awaitable[None]]) -> None:
        self.problems: list[str] = []
        self.names: list[str] = []
        self.scenario = SCENARIOS[scenario]
        self.engine = engine
        self._crash_in_a_step = crash_in_a_step

    async def prepare(self, name: str) -> None:
        """Bring a new workflow to where the scenario begins."""
        if not self.names:
            await self._execute(PAID)
        self.names += self.family(name)
        for each in self.family(name):
            scenario = self._scenario_of(each)
            if scenario.prepared != "nothing":
                await self.engine.create_workflow(each, START, scenario.steps)
        prepared = self.scenario.prepared
        if prepared in ("error", "completed"):
            with suppress(StepError):
                await self.engine.run(name)
        if prepared == "orphan":
            await self._crash_in_a_step(name)
            await self._nobody_runs([name])
            await self._due()

    async def left(self) -> dict[str, Left]:
        """Return all rows as they stand, by their names."""
        sql = "SELECT name, state, attempt_started_at, position, attempt, step_state FROM awfe_workflow"
        rows = await self._execute(sql)
        return {name: Left(state, started is None, *rest) for name, state, started, *rest in rows}

    async def follow_up(self, names: list[str]) -> None:
        """Recover what was left, do what a person would do to bring it to its end, and check it at both times."""
        left = await self.left()
        families = [each for name in names for each in self.family(name)]
        await self._nobody_runs(families)
        await self._due()
        for name in (await self.engine.recover()).started:
            await self._hurried(asyncio.ensure_future(self.engine.wait(name, 30)))
        lives = await asyncio.gather(*(self.life(name, left.get(name)) for name in families))
        for life in lives:
            self._note(life, sweep_check.after_the_crash(life))
        # A workflow goes on when the one that it has begun has come to its end, and goes back together with it.
        children = [life for life in lives if life.scenario is not self.scenario and life.scenario.end == "completed"]
        await asyncio.gather(*map(self._mend, children))
        await asyncio.gather(*(self._mend(life) for life in lives if life.scenario is self.scenario))
        for life in await asyncio.gather(*(self.life(name, left.get(name)) for name in families)):
            self._note(life, sweep_check.in_the_end(life))

    async def life(self, name: str, left: Left | None = None) -> Life:
        """Return all about a workflow."""
        try:
            workflow: Workflow | None = await self.engine.get(name)
            history = await self.engine.history(name)
        except WorkflowNotFound:
            workflow, history = None, []
        rows = await self._execute("SELECT position FROM sweep_paid WHERE name = :name", {"name": name})
        paid = Counter(int(position) for (position,) in rows)
        return Life(name, self._scenario_of(name), Stage.now.marks(name), left, workflow, history, paid)

    def family(self, name: str) -> list[str]:
        """Return a workflow, the one that it begins, and those beside it."""
        children = [child_of(name)] if self.scenario.child else []
        return [name, *children, *mates_of(name, self.scenario.mates)]

    def _scenario_of(self, name: str) -> Scenario:
        child = self.scenario.child
        return child if child is not None and name.endswith(child_of("")) else self.scenario

    async def _due(self) -> None:
        """Let the time be over for which workflows wait."""
        await self._execute("UPDATE awfe_workflow SET due_at = created_at WHERE due_at > created_at")

    async def _nobody_runs(self, names: Iterable[str]) -> None:
        """Wait until the server has seen that the runners are gone; their leases have run out at once."""
        mine = {"me": self.engine._crew.owner}
        await self._execute("UPDATE awfe_lease SET expires = 0 WHERE owner <> :me", mine)
        heads = [head for head in await self.engine._reads.running() if head.name in names]
        async with asyncio.timeout(20):
            for head in heads:
                while await self.engine._crew.locks.is_held(head.id, head.owner):
                    await asyncio.sleep(0.002)

    async def _execute(self, sql: str, params: dict[str, str] | None = None) -> Rows:
        """Run a statement over a connection that is there; to open one takes longer than all else here."""
        return await execute(self.engine._database.engine, sql, params)

    def _note(self, life: Life, problems: Iterable[str]) -> None:
        self.problems += [f"{life.name}: {problem}" for problem in problems]

    async def _mend(self, life: Life) -> None:
        """Do again what is not stored, and let the workflow go on until it is where it is to be."""
        state = None if life.workflow is None else life.workflow.state.value
        for deed in sweep_check.missing(life):
            if life.workflow or deed.cause == "created":
                with suppress(StepError):
                    await getattr(self.engine, deed.verb)(life.name, **deed.arguments)
                state = None if life.scenario.after is None else (await self.engine.get(life.name)).state
        for _ in range(_TRIES):
            # What is gone is meant to be, or its parent has yet to begin it.
            if state in (None, life.scenario.end):
                return
            state = await self._go_on(life, state)

    async def _go_on(self, life: Life, state: str) -> str:
        verb = self.engine.restart if state in ("error", "stopped") else self.engine.run
        if life.scenario.end == "rolled_back" and state != "waiting":
            verb = self.engine.rollback
        await self._due()
        going = asyncio.ensure_future(verb(life.name))
        if any(isinstance(step, Asks) for step in life.scenario.steps):
            await self._approve(life.name, going)
        try:
            return (await self._hurried(going)).state
        except StepError:
            return "error"

    async def _hurried(self, going: "asyncio.Future[Workflow]") -> Workflow:
        """Await a run; where it comes to a wait only now, its time is over too."""
        while not (await asyncio.wait({going}, timeout=_LOOK))[0]:
            if self.engine._steering.control.waiting:
                await self._due()
        return going.result()

    async def _approve(self, name: str, going: "asyncio.Future[Workflow]") -> None:
        while not going.done():
            with suppress(InvalidState):
                await self.engine.approve(name)
            await asyncio.sleep(0.005)
