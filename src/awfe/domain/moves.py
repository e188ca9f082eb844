"""Moves: each thing that can happen to a workflow, as a value made by a constructor of its name.

A move knows the head it starts from and the head it leads to. The store applies it with one guarded statement, so a
move that starts from a head that is no longer there changes nothing.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from awfe.domain.context import NO_CHANGE, Delta
from awfe.domain.outcomes import MAX_REASON, ErrorInfo, storable
from awfe.domain.records import RequestName
from awfe.domain.states import ALLOWED, ENDED, Cause, StepState, WorkflowState


@dataclass(frozen=True, slots=True)
class Head:
    """The one row of a workflow that changes; all else about it is only ever added.

    `resumable`: nobody asked for this pause, so `recover()` may go on. `owner` is set while a step's body may be
    alive. `token` rises with each claim and verb, `rev` with each move; `run_id` is fresh for each claim.
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

    @property
    def at(self) -> int:
        """The position of the current step; only for a workflow that has one."""
        assert self.position is not None  # noqa: S101 - the schema holds it for every state but completed
        return self.position


@dataclass(frozen=True, slots=True)
class By:
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


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that ended with this move."""

    position: int
    attempt: int
    outcome: StepState
    started_at: datetime
    ended_at: datetime
    delta: Delta = NO_CHANGE
    output: str = ""
    error: ErrorInfo | None = None


@dataclass(frozen=True, slots=True)
class Noted:
    """A line that this move adds to the history; `position` is that of its change in the context.

    `attempt` is only that of a checkpoint; `detail` is what awfe itself has to say.
    """

    cause: Cause
    at: datetime
    position: int
    by: By = NOBODY
    delta: Delta = NO_CHANGE
    detail: str | None = None
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """A step from one head to the next, with the attempt that it ends and the line that it notes."""

    cause: Cause
    before: Head
    after: Head
    ended: Ended | None = None
    noted: Noted | None = None

    def __post_init__(self) -> None:
        """Hold every move to the table of transitions."""
        if (self.cause, self.before.state, self.after.state) not in ALLOWED:
            msg = f"{self.cause} leads from {self.before.state} to {self.after.state}: not in TRANSITIONS"
            raise AssertionError(msg)


def _moved(head: Head, state: WorkflowState, now: datetime, **changes: object) -> Head:
    """Return the head after a move; what a state can't have is taken off it."""
    rest: dict[str, object] = {"rev": head.rev + 1, "state": state, "due_at": None, "resumable": False}
    rest["ended_at"] = now if state in ENDED else None
    if state is not WorkflowState.RUNNING:
        rest |= {"attempt_started_at": None, "owner": None, "request": None, "stop_grace": None}
    return replace(head, **(rest | changes))  # type: ignore[arg-type]  # fields by name, held by Head itself


def claimed(head: Head, attempt: int, run_id: str, owner: str, now: datetime, by: By, *, stop_grace: float) -> Move:
    """A runner has the lock: the current step begins. `stop_grace` is what a stop gives that names no other."""
    after = _moved(
        head,
        WorkflowState.RUNNING,
        now,
        step_state=StepState.RUNNING,
        attempt=attempt,
        attempt_started_at=now,
        started_at=head.started_at or now,
        token=head.token + 1,
        run_id=run_id,
        owner=owner,
        stop_grace=stop_grace,
    )
    return Move(Cause.RUN, head, after, noted=Noted(Cause.RUN, now, head.at, by, detail=owner))


def step_passed(head: Head, ended: Ended, state: WorkflowState, next_attempt: int, *, resumable: bool) -> Move:
    """A step is completed, or skipped for its error: the next begins, or the workflow ends or halts before it."""
    cause = Cause.STEP_COMPLETED if ended.outcome is StepState.COMPLETED else Cause.STEP_SKIPPED
    now = ended.ended_at
    last = ended.position == head.step_count
    if last:
        after = _moved(head, WorkflowState.COMPLETED, now, position=None, step_state=None, attempt=0)
    elif state is WorkflowState.RUNNING:
        after = _moved(
            head,
            state,
            now,
            position=ended.position + 1,
            step_state=StepState.RUNNING,
            attempt=next_attempt,
            attempt_started_at=now,
        )
    else:
        after = _moved(
            head,
            state,
            now,
            position=ended.position + 1,
            step_state=StepState.PENDING,
            attempt=next_attempt - 1,
            resumable=resumable,
        )
    return Move(cause, head, after, ended, _aside(head, after, now))


def checkpointed(head: Head, delta: Delta, now: datetime) -> Move:
    """A step that goes on has saved what it changed so far."""
    noted = Noted(Cause.CHECKPOINT, now, head.at, delta=delta, attempt=head.attempt)
    return Move(Cause.CHECKPOINT, head, replace(head, rev=head.rev + 1), noted=noted)


def retried(head: Head, ended: Ended, due_at: datetime | None) -> Move:
    """An attempt failed: the next begins at once, or when it is due."""
    now, running = ended.ended_at, WorkflowState.RUNNING
    if due_at is None:
        after = _moved(head, running, now, attempt=head.attempt + 1, attempt_started_at=now)
    else:
        after = _moved(head, running, now, step_state=StepState.PENDING, attempt_started_at=None, due_at=due_at)
    return Move(Cause.STEP_ERROR, head, after, ended)


def begun(head: Head, now: datetime) -> Move:
    """A delay is over: the next attempt begins."""
    after = _moved(
        head,
        WorkflowState.RUNNING,
        now,
        step_state=StepState.RUNNING,
        attempt=head.attempt + 1,
        attempt_started_at=now,
    )
    return Move(Cause.ATTEMPT_BEGUN, head, after, noted=Noted(Cause.ATTEMPT_BEGUN, now, head.at))


def halted_between(head: Head, ended: Ended, state: WorkflowState, *, resumable: bool) -> Move:
    """An attempt failed and a retry is left, but somebody wants the workflow to halt first."""
    after = _moved(head, state, ended.ended_at, step_state=StepState.PENDING, resumable=resumable)
    return Move(Cause.STEP_ERROR, head, after, ended, _aside(head, after, ended.ended_at))


def halted(head: Head, state: WorkflowState, now: datetime, *, resumable: bool) -> Move:
    """A workflow that waits for its next attempt halts."""
    after = _moved(head, state, now, resumable=resumable)
    note = _aside(head, after, now) or Noted(Cause.HALTED, now, head.at)
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
    after = _moved(
        head,
        state,
        ended.ended_at,
        **{"step_state": ended.outcome, "owner": head.owner if alive else None, "token": head.token + alive, **changes},
    )
    return Move(cause, head, after, ended, _aside(head, after, ended.ended_at))


_WANTED = {"pause": WorkflowState.PAUSED, "stop": WorkflowState.STOPPED}


def _aside(head: Head, after: Head, now: datetime) -> Noted | None:
    """Note that a request came too late, or that it was the engine's closing which paused."""
    if head.request and after.state is not _WANTED[head.request]:
        return Noted(Cause.REQUEST_LAPSED, now, head.at, detail=head.request)
    return Noted(Cause.SHUTDOWN, now, head.at) if after.resumable else None


def taken_over(head: Head, now: datetime, by: By, *, rerun: bool) -> Move:
    """The runner is gone: what its step did is unknown, so only a declared `rerun` goes on; requests are honoured."""
    wanted = _WANTED[head.request or "pause"]
    between = head.attempt_started_at is None
    state = wanted if between or rerun else WorkflowState.ERROR
    cause = Cause.TAKEOVER if between else Cause.STEP_INTERRUPTED
    pending = between or state is WorkflowState.PAUSED
    ended = None
    if head.attempt_started_at is not None:
        ended = Ended(head.at, head.attempt, StepState.INTERRUPTED, head.attempt_started_at, now)
    after = _moved(
        head,
        state,
        now,
        step_state=StepState.PENDING if pending else StepState.INTERRUPTED,
        token=head.token + 1,
        resumable=state is WorkflowState.PAUSED and head.request is None,
    )
    return Move(cause, head, after, ended, Noted(Cause.TAKEOVER, now, head.at, by, detail=head.owner))


def fenced(head: Head, now: datetime, by: By) -> Move:
    """A runner does not act on a stop: nobody knows whether its step goes on, but it can't save anything any more."""
    token = head.token + 1
    note = Noted(Cause.FENCED, now, head.at, by, detail=head.owner)
    if head.attempt_started_at is None:
        after = _moved(head, WorkflowState.STOPPED, now, token=token, owner=head.owner)
        return Move(Cause.HALTED, head, after, noted=note)
    ended = Ended(head.at, head.attempt, StepState.STOPPED, head.attempt_started_at, now)
    after = _moved(head, WorkflowState.STOPPED, now, token=token, owner=head.owner, step_state=StepState.STOPPED)
    return Move(Cause.STEP_STOPPED, head, after, ended, note)


def body_ended(head: Head, now: datetime) -> Move:
    """The body of a fenced step has ended, or its process has: nothing of it lives any more."""
    after = _moved(head, head.state, now, resumable=head.resumable)
    return Move(Cause.BODY_ENDED, head, after, noted=Noted(Cause.BODY_ENDED, now, head.at, detail=head.owner))
