"""What this engine runs."""

import asyncio
from collections.abc import Callable, Iterator

from awfe.domain.decide import Halt
from awfe.domain.moves import By, Head
from awfe.domain.states import ACTIVE, WorkflowState
from awfe.errors import InvalidState, LockLost, WorkflowLocked, WorkflowNotFound
from awfe.execution.course import Course, Forward
from awfe.execution.crew import Crew
from awfe.execution.result import Result
from awfe.execution.runner import Run
from awfe.execution.waiting import Waiting

# What another engine may have done first is no error of a run that was woken.
TAKEN = (WorkflowLocked, LockLost, InvalidState, WorkflowNotFound)


class Control:
    """The runs of one engine: in line, running, or with a body that would not end; and what waits in it.

    `left_behind` are heads of runs that ended without having brought their workflow to rest. `follow` is called for
    who awaits a workflow that others go on with.
    """

    def __init__(self, crew: Crew, ring: Callable[[], None], follow: Callable[[str, Result, By], None]) -> None:
        """Begin without a run."""
        self.waiting = Waiting(crew.clock, ring)
        self.left_behind: set[Head] = set()
        self._crew = crew
        self._follow = follow
        self._runs: dict[str, Run] = {}

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

    def result(self, name: str) -> Result | None:
        """Return what somebody awaits, of a workflow that runs or waits here."""
        if (waiter := self.waiting.get(name)) is not None:
            return waiter.result
        run = self._runs.get(name)
        return None if run is None else run.result

    def begin(
        self, head: Head, course: Course, by: By, result: Result | None = None, *, in_line: bool = True
    ) -> Result:
        """Let a run begin, in a task of its own; its `result` may be awaited already."""
        result = result or Result(head.name, self._crew.log)
        run = Run(self._crew, head, course, by, result, on_over=self._over, on_rest=self._rests, in_line=in_line)
        self._runs[run.name] = run
        run.task = asyncio.create_task(run.go(), name=f"awfe run {run.name}")
        run.task.add_done_callback(lambda _task: run.abandoned())
        return result

    def _over(self, run: Run) -> None:
        del self._runs[run.name]
        if run.head.state in ACTIVE or run.head.owner is not None:
            self.left_behind.add(run.head)

    def _rests(self, run: Run, error: BaseException | None) -> None:
        woken = isinstance(run.course, Forward) and run.course.woken
        if error is None and run.head.state is WorkflowState.WAITING:
            self.waiting.add(run.head, run.result, run.by)
        elif woken and not run.has_claimed and (error is None or isinstance(error, TAKEN)):
            self._follow(run.name, run.result, run.by)
        else:
            run.result.set(error)

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
            self._crew.log.warning("a step of %r still runs; its lock is given back all the same", run.name)
            run.task.cancel()
        await self._all_ended(None)
        self.waiting.close()

    async def _all_ended(self, limit: float | None) -> None:
        if tasks := {run.task for run in self}:
            await asyncio.wait(tasks, timeout=limit)

    async def _all_rested(self) -> None:
        if waiting := [run.rested for run in self]:
            await asyncio.wait(waiting)
