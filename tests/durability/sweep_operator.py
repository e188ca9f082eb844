"""Who prepares the workflows of a sweep, and brings to its end what a disturbed engine has left."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from awfe import Engine, StepError, Workflow, WorkflowNotFound
from tests.databases import Database
from tests.durability import sweep_check
from tests.durability.scenarios import PAID, SCENARIOS, START, Stage
from tests.durability.sweep_check import Left, Life

# A step that was interrupted, and one that fails once.
_TRIES = 3


class Operator:
    """Works on the workflows of one scenario with an engine of his own; `problems` are what he found wrong.

    `crash_in_a_step` makes a process, or what imitates one, die in the middle of a workflow's held step.
    """

    def __init__(
        self, database: Database, engine: Engine, scenario: str, crash_in_a_step: Callable[[str], Awaitable[None]]
    ) -> None:
        self.problems: list[str] = []
        self.names: list[str] = []
        self.scenario = SCENARIOS[scenario]
        self.engine = engine
        self._database = database
        self._crash_in_a_step = crash_in_a_step

    async def prepare(self, name: str) -> None:
        """Bring a new workflow to where the scenario begins."""
        if not self.names:
            await self._database.execute(PAID)
        self.names.append(name)
        prepared = self.scenario.prepared
        if prepared == "nothing":
            return
        await self.engine.create_workflow(name, START, self.scenario.steps)
        if prepared in ("error", "completed"):
            with suppress(StepError):
                await self.engine.run(name)
        if prepared == "orphan":
            await self._crash_in_a_step(name)
            await self._nobody_runs([name])

    async def left(self) -> dict[str, Left]:
        """Return all rows as they stand, by their names."""
        sql = "SELECT name, state, attempt_started_at, position, attempt FROM awfe_workflow"
        rows = await self._database.execute(sql)
        return {name: Left(state, started is None, *rest) for name, state, started, *rest in rows}

    async def follow_up(self, names: list[str]) -> None:
        """Recover what was left, do what a person would do to bring it to its end, and check it at both times."""
        left = await self.left()
        await self._nobody_runs(names)
        for name in (await self.engine.recover()).started:
            await self.engine.wait(name, 30)
        lives = await asyncio.gather(*(self.life(name, left.get(name)) for name in names))
        for life in lives:
            self._note(life, sweep_check.after_the_crash(life))
        await asyncio.gather(*map(self._mend, lives))
        for life in await asyncio.gather(*(self.life(name, left.get(name)) for name in names)):
            self._note(life, sweep_check.in_the_end(life))

    async def life(self, name: str, left: Left | None = None) -> Life:
        """Return all about a workflow."""
        try:
            workflow: Workflow | None = await self.engine.get(name)
            history = await self.engine.history(name)
        except WorkflowNotFound:
            workflow, history = None, []
        rows = await self._database.execute("SELECT position FROM sweep_paid WHERE name = :name", {"name": name})
        paid = Counter(int(position) for (position,) in rows)
        return Life(name, self.scenario, Stage.now.marks(name), left, workflow, history, paid)

    async def _nobody_runs(self, names: Iterable[str]) -> None:
        """Wait until the server has seen that the runners are gone; their leases have run out at once."""
        mine = {"me": self.engine._crew.owner}
        await self._database.execute("UPDATE awfe_lease SET expires = 0 WHERE owner <> :me", mine)
        heads = [head for head in await self.engine._reads.running() if head.name in names]
        async with asyncio.timeout(20):
            for head in heads:
                while await self.engine._crew.locks.is_held(head.id, head.owner):
                    await asyncio.sleep(0.002)

    def _note(self, life: Life, problems: Iterable[str]) -> None:
        self.problems += [f"{life.name}: {problem}" for problem in problems]

    async def _mend(self, life: Life) -> None:
        """Do again what is not stored, and let the workflow go on until it is completed."""
        state = "pending" if life.workflow is None else life.workflow.state.value
        done = {event.cause.value for event in life.history}
        for deed in self.scenario.deeds:
            if deed.cause not in done and (life.workflow or deed.cause == "created"):
                workflow = await getattr(self.engine, deed.verb)(life.name, **deed.arguments)
                state = "completed" if workflow is None else workflow.state
        if life.workflow is None and self.scenario.after is None:
            return
        for _ in range(_TRIES):
            if state == "completed":
                return
            verb = self.engine.restart if state in ("error", "stopped") else self.engine.run
            try:
                state = (await verb(life.name)).state
            except StepError:
                state = "error"
