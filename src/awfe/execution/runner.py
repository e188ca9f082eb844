"""One run of one workflow: claim, then attempt, decide, apply, until it rests."""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

from awfe.domain import moves, verbs
from awfe.domain.claims import Claimant
from awfe.domain.context import Context
from awfe.domain.decide import Halt, Situation, decide
from awfe.domain.delta import NO_CHANGE, too_large
from awfe.domain.encoded import Encoded
from awfe.domain.log import Progress
from awfe.domain.moves import By, Head, Move
from awfe.domain.outcomes import Outcome
from awfe.domain.states import ACTIVE, StepState, Verb
from awfe.domain.step import Policies, TransactionalStep, called, policies_of
from awfe.domain.waits import Woken
from awfe.errors import LockLost, StoreUnavailable, WorkflowCorrupt, WorkflowNotFound
from awfe.execution import endings
from awfe.execution.asked import Asked
from awfe.execution.attempt import Attempt, Cut, Work
from awfe.execution.course import Course, load
from awfe.execution.crew import Crew
from awfe.execution.endings import Fault
from awfe.execution.result import Result
from awfe.execution.tenure import Tenure
from awfe.execution.transactional import Apply, no_checkpoint, transacted
from awfe.execution.waited import outcome_of_wait
from awfe.persistence.writes import Found
from awfe.shielding import surely, to_the_end


class Run(Asked):
    """One run of one workflow in this engine, from the line to the end of its last body.

    `on_rest` is told what the run raises, for those who await `result`, when the workflow rests: its lock and place are
    given back then. Where the body of a fenced step will not end it is told before, and they are kept until it does.
    """

    def __init__(
        self,
        crew: Crew,
        head: Head,
        course: Course,
        by: By,
        result: Result,
        *,
        on_over: Callable[["Run"], None],
        on_rest: Callable[["Run", BaseException | None], None],
        in_line: bool = True,
    ) -> None:
        """Prepare a run; nothing begins yet but that it stands in line, or takes a place beside the others."""
        super().__init__(crew, head, in_line=in_line)
        self.course = course
        self.by = by
        self.result = result
        self.task: asyncio.Task[None]
        self._progress = Progress()
        self._context = Encoded({})
        self._found: Found | None = None
        self._moving = asyncio.Lock()
        self._fault: Fault | None = None
        self._policies: Policies
        self._tenure: Tenure
        self._on_over = on_over
        self._on_rest = on_rest

    async def go(self) -> None:
        """Run until the workflow rests; never raises: what happened is told to `on_rest`."""
        try:
            error = await self._pipeline()
        except BaseException as raised:  # noqa: BLE001 - handed to whoever awaits the run
            error = raised
        self._on_over(self)
        self._rest(error)
        # It refers to this run: the circle would be the collector's to find.
        self._attempt = None

    def _rest(self, error: BaseException | None) -> None:
        if not self.rested.done():
            self.rested.set_result(None)
            self._on_rest(self, error)

    def abandoned(self) -> None:
        """Come to rest when the task was cancelled before its first line, as when a loop goes down."""
        if not self.rested.done():
            if not self.crew.line.leave(self._turn):
                self.crew.line.give_back()
            self._on_over(self)
            self._rest(asyncio.CancelledError())

    async def _pipeline(self) -> BaseException | None:
        if not await self._turn:
            return endings.halted(self.name, self._halt.state)
        try:
            held = await self.crew.locks.take(self.head.id)
            if held is None:
                return verbs.locked(self.head, Verb.ROLLBACK if self.course.undo else Verb.RUN)
            self._tenure = Tenure(self.crew, self.name, held, self._claimed_head, self._fenced)
            try:
                return await self._locked()
            finally:
                await to_the_end(self._tenure.end())
        finally:
            self.crew.line.give_back()

    async def _locked(self) -> BaseException | None:
        try:
            error = await self._steps_in_turn()
        except (LockLost, StoreUnavailable, WorkflowCorrupt) as raised:
            error = raised
        if self._attempt is not None and self._attempt.alive:
            self._rest(error)
            # The lock and the place are kept until the body of a fenced step has ended.
            self.crew.log.warning("%s does not end; its workflow stays locked until it does", self._attempt.name)
            await self._attempt.ended()
        # A database that is away would keep us once more; what is left behind is settled when it is back.
        if self.head.owner is not None and not isinstance(error, (StoreUnavailable, WorkflowCorrupt)):
            # Who has taken it over may have deleted it since.
            with suppress(WorkflowNotFound):
                self.head = await self.crew.writes.let_go(self.head, self._now(), self.crew.settings.db_retry_for)
        return error

    async def _steps_in_turn(self) -> BaseException | None:
        if self._halt:
            return endings.halted(self.name, self._halt.state)
        await self._claim()
        if not self.has_claimed and not self._halt:
            # It is completed, or waits, or others have taken it.
            return None
        while self.head.state in ACTIVE:
            if self.head.waits:
                await self._apply(self._look_at_wait())
            elif self.head.due_at is not None:
                await self._wait_until_due(self.head.due_at)
            else:
                step = self.course.steps[self.head.at - 1]
                if isinstance(step, TransactionalStep) and step.is_transactional and not self.course.undo:
                    await transacted(self.crew, step, self._run_attempt, self._apply, self._cancelled)
                else:
                    await self._apply(await self._run_attempt())
        error = endings.of(self.head, self._fault, self._step_name)
        if error is not None and self._halt and self._fault is None:
            return endings.halted(self.name, self._halt.state)
        return error

    @property
    def _step_name(self) -> str:
        position = self.head.position
        return "" if position is None else called(self.course.steps[position - 1])

    async def _claim(self) -> None:
        run_id = secrets.token_hex(16)

        def make(found: Found) -> Move | None:
            if found.head.run_id == run_id or self._halt or found.progress.replaced_rev > self.course.rev:
                return None
            self._found = found
            crew = self.crew
            claimant = Claimant(run_id, crew.owner, self._now(), self.by, crew.settings.stop_grace)
            return self.course.claim(found, claimant)

        found = await self.crew.writes.claim(self.name, make, self.head.id, self._cancelled)
        if found.progress.replaced_rev > self.course.rev and not self._halt:
            head, specs = await surely(partial(self.crew.reads.with_steps, self.name), self._cancelled)
            self.course.take(load(self.name, specs), head.rev)
            return await self._claim()
        if found.head.state in ACTIVE and found.head.run_id != run_id:
            # Ours was committed, its answer came late, and somebody has taken over and claimed it since.
            raise LockLost(self.name, f"{self.name!r} was taken over while this run began")
        self.has_claimed = found.head.run_id == run_id
        self.head, self._progress, self._context = found.head, found.progress, Encoded(found.progress.context())
        self._claimed.set_result(None)
        return None

    def _look_at_wait(self) -> Outcome:
        found = self._found
        assert found is not None  # noqa: S101 - what waits was claimed
        self._policies = policies_of(self.course.steps[self.head.at - 1])
        outcome, error = outcome_of_wait(self.head, found, self._now(), self._context, self.crew.max_context_bytes)
        self._fault = Fault(error, outcome.error, isinstance(error, TimeoutError))
        return outcome

    async def _run_attempt(self, work: Work | None = None) -> Outcome:
        # It may have been lost while the begin was being saved: no body begins beside another's.
        await self._tenure.hold()
        head, step = self.head, self.course.steps[self.head.at - 1]
        attempt = Attempt(
            self.crew,
            head,
            step,
            self._progress.line(head.at),
            no_checkpoint if work else self._checkpoint,
            work=work,
            undo=self.course.undo,
            woken=self._woken_for(head),
        )
        self._attempt, self._policies = attempt, policies_of(step)
        if self._halt:
            # It was asked for while the begin was being saved: the step's code has not begun, and does not.
            attempt.cut(Cut.STOP if self._halt is Halt.STOP else Cut.SHUTDOWN, self._grace)
        outcome = await attempt.run(self._context, self._policies.timeout, self.crew.settings.stop_grace)
        self._fault = Fault(attempt.error, attempt.described, attempt.timed_out)
        if attempt.fenced:
            await self._tenure.hold()
        return outcome

    def _woken_for(self, head: Head) -> Woken | None:
        """Return why the work of a step is called once more in the attempt in which it waited."""
        found = self._found
        if found is None or not found.head.waits or (found.head.at, found.head.attempt) != (head.at, head.attempt):
            return None
        return "due" if found.signal is None else "signal"

    async def _apply(self, outcome: Outcome, apply: Apply | None = None) -> None:
        position = self.head.at

        def choose() -> Move:
            way, next_attempt = self.course.next(self.head, self._progress)
            failures, now = self._progress.failures, self._now()
            situation = Situation(self.head, self._policies, failures, next_attempt, self._halt, now, way)
            return decide(situation, outcome)

        move = await self._commit(choose, apply)
        if move.ended is None:
            # It waits; the run is over.
            return
        self._progress.attempts[position] = move.ended.attempt
        if move.ended.outcome is StepState.ERROR:
            self._progress.failures += 1
        else:
            self._progress.failures = 0
        if move.ended.outcome in (StepState.COMPLETED, StepState.UNDONE):
            outcome.delta.apply(self._context)

    async def _wait_until_due(self, due_at: datetime) -> None:
        while not self._halt and (left := (due_at - self._now()) / timedelta(seconds=1)) > 0:
            self._bell = asyncio.get_running_loop().create_future()
            try:
                await asyncio.wait_for(self._bell, left)
            except TimeoutError:
                continue
            except asyncio.CancelledError:
                self.ask(Halt.STOP)

        def choose() -> Move:
            if self._halt:
                resumable = self._halt is Halt.SHUTDOWN
                return moves.halted(self.head, self._halt.state, self._now(), resumable=resumable)
            return moves.begun(self.head, self._now())

        await self._commit(choose)

    async def _checkpoint(self, ctx: Context) -> None:
        delta = NO_CHANGE

        def choose() -> Move:
            nonlocal delta
            now = (self.head.state in ACTIVE, self.head.position, self.head.attempt)
            if now != (True, ctx.step.position, ctx.step.attempt):
                raise LockLost(self.name, f"{self.name!r}: this attempt is over; it can't save anything any more")
            delta = ctx.collect()
            if ctx.size > self.crew.max_context_bytes:
                raise too_large(ctx.size, self.crew.max_context_bytes)
            return moves.checkpointed(self.head, delta, self._now())

        async def save() -> None:
            await self._commit(choose)
            ctx.commit(delta)
            delta.apply(self._context)

        await to_the_end(save())

    async def _commit(self, choose: Callable[[], Move], apply: Apply | None = None) -> Move:
        """Apply a move; where a request turns up first, choose again."""
        async with self._moving:
            while True:
                # A step's own transaction does not wait: its fence decides, and the next body waits before it begins.
                if apply is None:
                    await self._tenure.hold()
                move = choose()
                retry_for = self.crew.settings.db_retry_for
                if apply is None:
                    self.head = await self.crew.writes.apply(move, retry_for, self._cancelled)
                else:
                    self.head = await surely(partial(apply, move, retry_for), self._cancelled)
                if self.head.rev == move.after.rev:
                    return move
                self.heed(self.head)

    def _claimed_head(self) -> Head | None:
        return self.head if self._claimed.done() else None

    def _now(self) -> datetime:
        return self.crew.clock()
