"""What the verbs have in common: let a workflow run, ask it to halt, wait for it, change it at rest."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from awfe.domain import verbs
from awfe.domain.decide import Halt
from awfe.domain.moves import NOBODY, By, Head
from awfe.domain.records import Recovered
from awfe.domain.states import ACTIVE, Verb, WorkflowState, allowed_in
from awfe.errors import InvalidState, StepNotFound, WorkflowCorrupt, WorkflowLocked, WorkflowNotFound
from awfe.execution import endings
from awfe.execution.attaching import Attaching
from awfe.execution.control import TAKEN, Control
from awfe.execution.course import back, forward, load
from awfe.execution.crew import Crew
from awfe.execution.gate import Gate
from awfe.execution.lookout import Lookout
from awfe.execution.recovery import Recovery
from awfe.execution.result import Result
from awfe.persistence.writes import Make
from awfe.shielding import end, to_the_end

T = TypeVar("T")


class Steering:
    """Acts on the workflows of one database through one engine."""

    def __init__(self, crew: Crew, gate: Gate) -> None:
        """Steer with these collaborators."""
        self._crew = crew
        self._gate = gate
        self._recovery = Recovery(crew)
        self._attaching = Attaching(crew, self._recovery, lambda: self.control)
        rung = asyncio.Event()
        self.control = Control(crew, rung.set, self._attaching.follow)
        self.lookout = Lookout(crew, self.control, self._recovery, self._attaching, rung)
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
        await self._attaching.close()

    async def start(self, name: str, by: By, *, recovered: bool = False) -> Result | None:
        """Let a workflow run in the background, or attach to one that waits; None when it is completed.

        Refuses what can be known now. What is `recovered` does not begin where a person has halted it meanwhile.
        """
        await self.leaving(name)
        if (attached := self.attached(name)) is not None:
            return attached
        read, specs = await self._crew.reads.with_steps(name)
        head = await self._recovery.settle(read)
        course = forward(head, specs, read.rev, recovered=recovered)
        if course is None:
            return None
        if course.woken:
            await self._crew.waits.attach(head, self._crew.owner)
        self._gate.check()
        return self.attached(name) or self.control.begin(head, course, by)

    async def roll_back(
        self, name: str, by: By, *, current: bool, skip: bool, in_line: bool = True, recovered: bool = False
    ) -> Result:
        """Let a workflow be rolled back in the background; refuses what can be known now."""
        await self.leaving(name)
        self.refuse_running(name, Verb.ROLLBACK)
        read, specs = await self._crew.reads.with_steps(name)
        head = await self._recovery.settle(read)
        course = back(head, specs, read.rev, current=current, skip=skip, recovered=recovered)
        self._gate.check()
        self.refuse_running(name, Verb.ROLLBACK)
        return self.control.begin(head, course, by, in_line=in_line)

    def attached(self, name: str) -> Result | None:
        """Return what may be awaited of a workflow that waits here, or is about to; refuses one that runs."""
        waiter, run = self.control.waiting.get(name), self.control.get(name)
        if waiter is not None:
            return waiter.result
        if run is not None and run.head.state is WorkflowState.WAITING:
            return run.result
        self.refuse_running(name, Verb.RUN)
        return None

    async def leaving(self, name: str) -> None:
        """Return when a run is over whose workflow rests, and that only gives its lock back."""
        run = self.control.get(name)
        if run is not None and run.has_claimed and run.head.state not in ACTIVE and run.head.owner is None:
            await asyncio.wait({run.task})

    async def begun(self, name: str) -> None:
        """Return when the database tells what a run of this engine has claimed."""
        run = self.control.get(name)
        if run is not None and not run.in_line:
            await run.settled()

    def refuse_running(self, name: str, verb: Verb) -> None:
        """Refuse a workflow that runs, or is about to, in this engine."""
        if (running := self.control.get(name)) is not None:
            raise verbs.locked(running.head, verb) if running.head.owner is not None else _in_line(name)

    async def outlast(self, name: str, result: Result) -> None:
        """Await what a run comes to; who is cancelled meanwhile stops it."""
        result.awaited = True
        try:
            await asyncio.shield(result.future)
        except asyncio.CancelledError:
            await to_the_end(self._stop(name, result))
            raise

    async def _stop(self, name: str, result: Result) -> None:
        """Stop what somebody awaited who was cancelled, and return when it rests."""
        while not result.future.done():
            run = self.control.get(name)
            if run is not None and run.result is result:
                run.ask(Halt.STOP)
                await asyncio.wait({result.future, run.rested}, return_when=asyncio.FIRST_COMPLETED)
                # What had begun to wait waits no longer than this.
                await asyncio.sleep(0)
                continue
            with suppress(InvalidState, WorkflowNotFound):
                await self.halt(name, Verb.STOP, NOBODY)
            await asyncio.wait({result.future}, timeout=self._crew.settings.poll_interval)

    async def halt(self, name: str, verb: Verb, by: By, grace: float | None = None) -> None:
        """Ask whoever runs a workflow to pause or stop; one that stands in line here is taken out of it."""
        halt = Halt.STOP if verb is Verb.STOP else Halt.PAUSE
        await self.leaving(name)
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
        await self.told(head)
        if verb is Verb.STOP:
            for child in await self._crew.waits.children_of(head.id):
                with suppress(InvalidState, WorkflowNotFound):
                    await self.halt(child, verb, by, grace)

    async def told(self, head: Head) -> None:
        """Tell who awaits a workflow that waited, and does so no more, or may go on."""
        if head.state in ACTIVE:
            return
        waiter = self.control.waiting.get(head.name)
        if waiter is not None and head.state in (WorkflowState.PAUSED, WorkflowState.STOPPED):
            self.control.waiting.pop(head.name)
            waiter.result.set(endings.halted(head.name, head.state, endings.Fault()))
        elif waiter is not None or head.waiter is not None:
            await self.lookout.ring_for(self._crew.owner if waiter is not None else str(head.waiter))

    async def at_rest(self, name: str, act: Callable[[], Awaitable[T]]) -> T:
        """Do something that needs a workflow at rest; one whose runner is gone is brought to rest first."""
        await self.begun(name)
        try:
            return await act()
        except WorkflowLocked:
            if self.control.get(name) is not None:
                raise
            settled = await self._recovery.settle(await self._crew.reads.head(name))
            if settled.owner is not None:
                raise
        return await act()

    async def expect_steps(self, name: str, verb: Verb) -> None:
        """Raise `StepNotFound` where a verb that a run follows is allowed, and a step has no class here."""
        head, specs = await self._crew.reads.with_steps(name)
        if head.state in allowed_in(verb):
            load(name, specs)

    async def change(self, name: str, make: Make, *, with_unsaved: bool = False) -> None:
        """Change a workflow at rest."""
        await self.at_rest(name, lambda: self._crew.writes.change(name, make, with_unsaved=with_unsaved))

    async def delete(self, name: str, by: By) -> None:
        """Delete a workflow at rest; for one that can't be understood it is enough that nobody runs it."""
        crew = self._crew
        try:
            await self.at_rest(name, lambda: crew.entries.delete(name, by, crew.clock()))
        except WorkflowCorrupt:
            remains = await crew.reads.remains(name)
            if not await self._recovery.is_gone(remains):
                raise
            await crew.entries.delete(name, by, crew.clock(), remains)

    async def wait(self, name: str) -> None:
        """Return when a workflow neither runs nor waits nor stands in line here."""
        while True:
            self._gate.check()
            run, waiter = self.control.get(name), self.control.waiting.get(name)
            if run is not None and not run.rested.done():
                await asyncio.wait({run.rested})
                continue
            if waiter is not None and not waiter.result.future.done():
                await asyncio.wait({waiter.result.future})
                continue
            head = await self._recovery.settle(await self._crew.reads.head(name))
            if head.state not in (*ACTIVE, WorkflowState.WAITING):
                return
            await asyncio.sleep(self._crew.settings.poll_interval)

    async def recover(self, asked: By = NOBODY) -> Recovered:
        """Take up, once, what has lost its runner, what is due, and what a closing engine has paused."""
        by = By(asked.actor or self._crew.owner, asked.reason or "recover")
        orphans = [head for head in await self._crew.reads.running() if self.control.get(head.name) is None]
        settled = await self._recovery.settle_all(orphans)
        refused = [head.name for head in settled if head.state is WorkflowState.ERROR]
        started = []
        for name in await self._crew.waits.to_take_up(self._crew.clock()):
            try:
                result = await self._take_up(name, by)
            except TAKEN:
                continue
            except WorkflowCorrupt as error:
                self._crew.reads.pass_over(error)
                refused.append(name)
                continue
            except StepNotFound as error:
                self._crew.log.warning("%s", error)
                refused.append(name)
                continue
            if result is not None:
                result.quiet = (*TAKEN, WorkflowCorrupt)
                result.future.add_done_callback(self._tell_corrupt)
                started.append(name)
        return Recovered(tuple(started), tuple(refused))

    async def _take_up(self, name: str, by: By) -> Result | None:
        if self.control.result(name) is not None:
            # It runs here, or this engine wakes it anyway.
            return None
        if (await self._crew.reads.head(name)).undoing:
            return await self.roll_back(name, by, current=False, skip=False, recovered=True)
        return await self.start(name, by, recovered=True)

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
