"""What this engine runs."""

import asyncio
from collections.abc import Iterator, Sequence

from awfe.domain.decide import Halt
from awfe.domain.moves import By, Head
from awfe.domain.states import WorkflowState
from awfe.domain.step import BaseStep
from awfe.execution.crew import Crew
from awfe.execution.runner import Run


class Control:
    """The runs of one engine: in line, running, or with a body that would not end.

    `left_behind` are heads of runs that ended without having brought their workflow to rest.
    """

    def __init__(self, crew: Crew) -> None:
        """Begin without a run."""
        self._crew = crew
        self._runs: dict[str, Run] = {}
        self.left_behind: set[Head] = set()

    def __bool__(self) -> bool:
        """Tell whether there is one."""
        return bool(self._runs)

    def __iter__(self) -> Iterator[Run]:
        """Iterate over the runs."""
        return iter(tuple(self._runs.values()))

    def get(self, name: str) -> Run | None:
        """Return the run of a workflow in this engine."""
        return self._runs.get(name)

    def runs(self, head: Head) -> bool:
        """Tell whether this engine is the runner that a head names."""
        run = self._runs.get(head.name)
        return run is not None and run.head.run_id == head.run_id

    def begin(self, head: Head, steps: Sequence[BaseStep], by: By) -> Run:
        """Let a run begin, in a task of its own."""
        run = Run(self._crew, head, steps, by, self._over)
        self._runs[run.name] = run
        run.task = asyncio.create_task(run.go(), name=f"awfe run {run.name}")
        run.task.add_done_callback(lambda _task: run.abandoned())
        return run

    def _over(self, run: Run) -> None:
        del self._runs[run.name]
        if run.head.state is WorkflowState.RUNNING or run.head.owner is not None:
            self.left_behind.add(run.head)

    async def close(self) -> None:
        """Pause all runs, cut off what does not pause in time, and give back what does not end even then."""
        settings = self._crew.settings
        for run in self:
            run.ask(Halt.SHUTDOWN)
        await self._all_ended(settings.shutdown_grace)
        for run in self:
            run.cut_off()
        await self._all_rested()
        await self._all_ended(settings.shutdown_grace)
        for run in self:
            if run.task is not None:
                self._crew.log.warning("a step of %r still runs; its lock is given back all the same", run.name)
                run.task.cancel()
        await self._all_ended(None)

    async def _all_ended(self, limit: float | None) -> None:
        tasks = {run.task for run in self if run.task is not None}
        if tasks:
            await asyncio.wait(tasks, timeout=limit)

    async def _all_rested(self) -> None:
        if waiting := [run.rested for run in self]:
            await asyncio.wait(waiting)
