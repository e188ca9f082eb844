"""Moves: each thing that can happen to a workflow, as a value made by a constructor of its name.

A move knows the head it starts from and the head it leads to. The store applies it with one guarded statement, so a
move that starts from a head that is no longer there changes nothing. No value here can be part of a circle, so the
collector is told not to look at them.
"""

from datetime import datetime

import msgspec
from msgspec.structs import replace

from awfe.domain.delta import NO_CHANGE, Delta
from awfe.domain.outcomes import MAX_REASON, ErrorInfo, storable
from awfe.domain.records import RequestName
from awfe.domain.states import ACTIVE, ALLOWED, ENDED, Cause, StepState, WorkflowState
from awfe.domain.waits import Wait


class Head(msgspec.Struct, frozen=True, gc=False):
    """The one row of a workflow that changes; all else about it is only ever added.

    `resumable`: nobody asked for this pause, so `recover()` may go on. `owner` is set while a step's body may be
    alive. `token` rises with each claim and verb, `rev` with each move; `run_id` is fresh for each claim. `wait` is
    what the current step waits for, and `waiter` the engine that goes on with it. `undoing`: the way is back.
    """

    id: int
    name: str
    step_count: int
    state: WorkflowState
    position: int | None
    step_state: StepState | None
    attempt: int
    created_at: datetime
    attempt_started_at: datetime | None = None
    due_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    resumable: bool = False
    token: int = 0
    run_id: str = ""
    rev: int = 0
    owner: str | None = None
    request: RequestName | None = None
    stop_grace: float | None = None
    scheduled_at: datetime | None = None
    undoing: bool = False
    wait: Wait | None = None
    waiter: str | None = None
    parent_id: int | None = None

    @property
    def waits(self) -> bool:
        """Whether its current step is in the middle of an attempt that waits."""
        return self.step_state is StepState.WAITING

    @property
    def at(self) -> int:
        """The position of the current step; only for a workflow that has one."""
        assert self.position is not None  # noqa: S101 - the schema holds it for every state but completed
        return self.position


class By(msgspec.Struct, frozen=True, gc=False):
    """Who asked, and why; bounded and storable."""

    actor: str | None = None
    reason: str | None = None

    @classmethod
    def of(cls, actor: str | None, reason: str | None) -> "By":
        """Take what a caller gave."""
        return cls(
            None if actor is None else storable(str(actor), 255),
            None if reason is None else storable(str(reason), MAX_REASON),
        )


NOBODY = By()


class Ended(msgspec.Struct, frozen=True, gc=False):
    """An attempt that ended with this move."""

    position: int
    attempt: int
    outcome: StepState
    started_at: datetime
    ended_at: datetime
    delta: Delta = NO_CHANGE
    output: str = ""
    error: ErrorInfo | None = None


class Noted(msgspec.Struct, frozen=True, gc=False):
    """A line that this move adds to the history; `position` is that of its change in the context.

    `attempt` is only that of a checkpoint, or of a step that begins to wait, with its `output`; `detail` is what awfe
    itself has to say.
    """

    cause: Cause
    at: datetime
    position: int
    by: By = NOBODY
    delta: Delta = NO_CHANGE
    detail: str | None = None
    attempt: int | None = None
    output: str | None = None


class Move(msgspec.Struct, frozen=True, gc=False):
    """A step from one head to the next, with the attempt that it ends, the line that it notes, the signal it takes."""

    cause: Cause
    before: Head
    after: Head
    ended: Ended | None = None
    noted: Noted | None = None
    signal: int | None = None

    def __post_init__(self) -> None:
        """Hold every move to the table of transitions."""
        if (self.cause, self.before.state, self.after.state) not in ALLOWED:
            msg = f"{self.cause} leads from {self.before.state} to {self.after.state}: not in TRANSITIONS"
            raise AssertionError(msg)

    @property
    def at(self) -> datetime:
        """When it happened."""
        if self.ended is not None:
            return self.ended.ended_at
        assert self.noted is not None  # noqa: S101 - a move leaves a line
        return self.noted.at


def moved(head: Head, state: WorkflowState, now: datetime, **changes: object) -> Head:
    """Return the head after a move; what a state can't have is taken off it."""
    rest: dict[str, object] = {"rev": head.rev + 1, "state": state, "due_at": None, "wait": None, "resumable": False}
    rest["ended_at"] = now if state in ENDED else None
    if state not in ACTIVE:
        rest |= {"attempt_started_at": None, "owner": None, "request": None, "stop_grace": None}
    return replace(head, **(rest | changes))


def step_passed(head: Head, ended: Ended, state: WorkflowState, next_attempt: int, *, resumable: bool) -> Move:
    """A step is completed, or skipped for its error: the next begins, or the workflow ends or halts before it."""
    cause = Cause.STEP_COMPLETED if ended.outcome is StepState.COMPLETED else Cause.STEP_SKIPPED
    now = ended.ended_at
    last = ended.position == head.step_count
    if last:
        after = moved(head, WorkflowState.COMPLETED, now, position=None, step_state=None, attempt=0)
    elif state is WorkflowState.RUNNING:
        after = moved(
            head,
            state,
            now,
            position=ended.position + 1,
            step_state=StepState.RUNNING,
            attempt=next_attempt,
            attempt_started_at=now,
        )
    else:
        after = moved(
            head,
            state,
            now,
            position=ended.position + 1,
            step_state=StepState.PENDING,
            attempt=next_attempt - 1,
            resumable=resumable,
        )
    return Move(cause, head, after, ended, aside(head, after, now))


def checkpointed(head: Head, delta: Delta, now: datetime) -> Move:
    """A step that goes on has saved what it changed so far."""
    noted = Noted(Cause.CHECKPOINT, now, head.at, delta=delta, attempt=head.attempt)
    return Move(Cause.CHECKPOINT, head, replace(head, rev=head.rev + 1), noted=noted)


def retried(head: Head, ended: Ended, due_at: datetime | None, *, waiting: bool = False) -> Move:
    """An attempt failed: the next begins at once, or when it is due; `waiting`: nobody holds anything until then."""
    now = ended.ended_at
    if due_at is None:
        after = moved(
            head,
            head.state,
            now,
            step_state=StepState.RUNNING,
            attempt=head.attempt + 1,
            attempt_started_at=now,
        )
        return Move(Cause.STEP_ERROR, head, after, ended)
    state = WorkflowState.WAITING if waiting else head.state
    pending = {"step_state": StepState.PENDING, "attempt_started_at": None, "due_at": due_at}
    after = moved(head, state, now, waiter=head.owner if waiting else head.waiter, **pending)
    return Move(Cause.STEP_ERROR, head, after, ended)


def begun(head: Head, now: datetime) -> Move:
    """A delay is over: the next attempt begins."""
    after = moved(
        head,
        head.state,
        now,
        step_state=StepState.RUNNING,
        attempt=head.attempt + 1,
        attempt_started_at=now,
    )
    return Move(Cause.ATTEMPT_BEGUN, head, after, noted=Noted(Cause.ATTEMPT_BEGUN, now, head.at))


def halted_between(head: Head, ended: Ended, state: WorkflowState, *, resumable: bool) -> Move:
    """An attempt failed and a retry is left, but somebody wants the workflow to halt first."""
    after = moved(head, state, ended.ended_at, step_state=StepState.PENDING, resumable=resumable)
    return Move(Cause.STEP_ERROR, head, after, ended, aside(head, after, ended.ended_at))


def halted(head: Head, state: WorkflowState, now: datetime, *, resumable: bool) -> Move:
    """A workflow that waits for its next attempt halts."""
    after = moved(head, state, now, resumable=resumable)
    note = aside(head, after, now) or Noted(Cause.HALTED, now, head.at)
    return Move(Cause.HALTED, head, after, noted=note)


def failed(head: Head, ended: Ended, *, alive: bool = False) -> Move:
    """A step failed for good."""
    return _ended_run(Cause.STEP_ERROR, head, WorkflowState.ERROR, ended, alive=alive)


def stopped(head: Head, ended: Ended, *, alive: bool = False) -> Move:
    """A step was stopped, or fenced because it would not end."""
    return _ended_run(Cause.STEP_STOPPED, head, WorkflowState.STOPPED, ended, alive=alive)


def shut_down(head: Head, ended: Ended, *, rerun: bool, resumable: bool, alive: bool = False) -> Move:
    """A step was cut off because the engine is closing."""
    if rerun:
        return _ended_run(
            Cause.STEP_INTERRUPTED,
            head,
            WorkflowState.PAUSED,
            ended,
            alive=alive,
            step_state=StepState.PENDING,
            resumable=resumable,
        )
    return _ended_run(Cause.STEP_INTERRUPTED, head, WorkflowState.ERROR, ended, alive=alive)


def _ended_run(cause: Cause, head: Head, state: WorkflowState, ended: Ended, *, alive: bool, **changes: object) -> Move:
    # The owner stays for as long as the body may live; the token rises so that it can't commit any more.
    after = moved(
        head,
        state,
        ended.ended_at,
        **{"step_state": ended.outcome, "owner": head.owner if alive else None, "token": head.token + alive, **changes},
    )
    return Move(cause, head, after, ended, aside(head, after, ended.ended_at))


WANTED = {"pause": WorkflowState.PAUSED, "stop": WorkflowState.STOPPED}


def aside(head: Head, after: Head, now: datetime) -> Noted | None:
    """Note that a request came too late, or that it was the engine's closing which paused."""
    if head.request and after.state is not WANTED[head.request]:
        return Noted(Cause.REQUEST_LAPSED, now, head.at, detail=head.request)
    return Noted(Cause.SHUTDOWN, now, head.at) if after.resumable else None
