"""What the verbs have in common: let a workflow run, ask it to halt, wait for it, change it at rest."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from awfe.domain import verbs
from awfe.domain.decide import Halt
from awfe.domain.moves import By
from awfe.domain.records import Recovered
from awfe.domain.states import ACTIVE, Answer, Verb, WorkflowState
from awfe.domain.step import BaseStep, StepSpec, policies_of
from awfe.errors import (
    InvalidInput,
    InvalidState,
    LockLost,
    StepNotFound,
    WorkflowCorrupt,
    WorkflowLocked,
    WorkflowNotFound,
)
from awfe.execution.control import Control
from awfe.execution.crew import Crew
from awfe.execution.gate import Gate
from awfe.execution.lookout import Lookout
from awfe.execution.recovery import Recovery
from awfe.execution.runner import Run
from awfe.persistence.writes import Make
from awfe.shielding import end

T = TypeVar("T")
# What another engine may have done first is no error of a recovery.
_TAKEN = (WorkflowLocked, LockLost, InvalidState, WorkflowNotFound)


class Steering:
    """Acts on the workflows of one database through one engine."""

    def __init__(self, crew: Crew, gate: Gate) -> None:
        """Steer with these collaborators."""
        self.control = Control(crew)
        self._crew = crew
        self._gate = gate
        self._recovery = Recovery(crew)
        self.lookout = Lookout(crew, self.control, self._recovery)
        self._recovering: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to look for the requests of other processes, and for workflows to take up."""
        await self.lookout.open()
        every = self._crew.settings.recover_every
        if every is not None:
            self._recovering = asyncio.create_task(self._recover_every(every), name="awfe recover")

    async def close(self) -> None:
        """Bring every run of this engine to rest."""
        if self._recovering is not None:
            await end(self._recovering)
        await self.control.close()
        await self.lookout.close()

    async def start(self, name: str, by: By) -> Run | None:
        """Let a workflow run in the background; None when it is completed. Refuses what can be known now."""
        if (running := self.control.get(name)) is not None:
            raise verbs.locked(running.head) if running.head.owner is not None else _in_line(name)
        head, specs = await self._crew.reads.with_steps(name)
        head = await self._recovery.settle(head)
        answer = verbs.check(head, Verb.RUN)
        if answer is Answer.RETURNS:
            return None
        steps = _load(name, specs)
        if answer is Answer.RUNS_IF_RERUN and not policies_of(steps[head.at - 1]).rerun:
            raise verbs.refusal(head, Verb.RUN, Answer.ERROR_STATE)
        self._gate.check()
        if self.control.get(name) is not None:
            raise _in_line(name)
        return self.control.begin(head, steps, by)

    async def halt(self, name: str, verb: Verb, by: By, grace: float | None = None) -> None:
        """Ask whoever runs a workflow to pause or stop; one that stands in line here is taken out of it."""
        halt = Halt.STOP if verb is Verb.STOP else Halt.PAUSE
        run = self.control.get(name)
        in_line = run is not None and run.in_line
        if run is None:
            await self._recovery.settle(await self._crew.reads.head(name))
        elif in_line:
            run.ask(halt, grace)
        else:
            await run.settled()
        head = await self._crew.writes.request(name, verb, by, self._crew.clock(), grace=grace, in_line=in_line)
        if (run := self.control.get(name)) is not None:
            run.heed(head)
        else:
            await self.lookout.asked(head)

    async def at_rest(self, name: str, act: Callable[[], Awaitable[T]]) -> T:
        """Do something that needs a workflow at rest; one whose runner is gone is brought to rest first."""
        run = self.control.get(name)
        if run is not None and not run.in_line:
            await run.settled()
        try:
            return await act()
        except WorkflowLocked:
            if self.control.get(name) is not None:
                raise
            settled = await self._recovery.settle(await self._crew.reads.head(name))
            if settled.owner is not None:
                raise
        return await act()

    async def change(self, name: str, make: Make, *, with_unsaved: bool = False) -> None:
        """Change a workflow at rest."""
        await self.at_rest(name, lambda: self._crew.writes.change(name, make, with_unsaved=with_unsaved))

    async def delete(self, name: str, by: By) -> None:
        """Delete a workflow at rest; for one that can't be understood it is enough that nobody runs it."""
        crew = self._crew
        try:
            await self.at_rest(name, lambda: crew.writes.delete(name, by, crew.clock()))
        except WorkflowCorrupt:
            remains = await crew.reads.remains(name)
            if not await self._recovery.is_gone(remains):
                raise
            await crew.writes.delete(name, by, crew.clock(), remains)

    async def wait(self, name: str) -> None:
        """Return when a workflow neither runs nor waits nor stands in line here."""
        while True:
            self._gate.check()
            run = self.control.get(name)
            if run is not None and not run.rested.done():
                await asyncio.wait({run.rested})
                continue
            head = await self._recovery.settle(await self._crew.reads.head(name))
            if head.state not in (*ACTIVE, WorkflowState.WAITING):
                return
            await asyncio.sleep(self._crew.settings.poll_interval)

    async def recover(self) -> Recovered:
        """Take up, once, what has lost its runner and what a closing engine has paused."""
        orphans = [head for head in await self._crew.reads.running() if self.control.get(head.name) is None]
        settled = await self._recovery.settle_all(orphans)
        refused = [head.name for head in settled if head.state is WorkflowState.ERROR]
        started = []
        for name in await self._crew.reads.resumable():
            try:
                run = await self.start(name, By(self._crew.owner, "recover"))
            except _TAKEN:
                continue
            except WorkflowCorrupt as error:
                self._crew.reads.pass_over(error)
                refused.append(name)
                continue
            except StepNotFound as error:
                self._crew.log.warning("%s", error)
                refused.append(name)
                continue
            if run is not None:
                run.result.quiet = (*_TAKEN, WorkflowCorrupt)
                run.result.future.add_done_callback(self._tell_corrupt)
                started.append(name)
        return Recovered(tuple(started), tuple(refused))

    def _tell_corrupt(self, rested: "asyncio.Future[None]") -> None:
        if isinstance(error := rested.exception(), WorkflowCorrupt):
            self._crew.reads.pass_over(error)

    async def _recover_every(self, seconds: float) -> None:
        while True:
            try:
                await self.recover()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next round may succeed
                self._crew.log.warning("recover: %s", error)
            await asyncio.sleep(seconds)


def _in_line(name: str) -> WorkflowLocked:
    return WorkflowLocked(name, f"{name!r} stands in line, or begins, in this engine already")


def _load(name: str, specs: Sequence[StepSpec]) -> list[BaseStep]:
    """Make all steps again, so that none is missed when others have run."""
    try:
        return [spec.load() for spec in specs]
    except (LookupError, InvalidInput) as error:
        raise StepNotFound(name, f"{name!r}: {error.args[0]}") from error
