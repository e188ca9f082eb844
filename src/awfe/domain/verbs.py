"""What an operator's verb makes of a workflow at rest: pure, from its head and its log to a move."""

from datetime import datetime

from msgspec.structs import replace

from awfe.domain.delta import Delta
from awfe.domain.log import Progress
from awfe.domain.moves import By, Head, Move, Noted
from awfe.domain.states import (
    ACTIVE,
    VERBS,
    WHILE_UNDOING,
    Answer,
    Cause,
    StepState,
    Verb,
    WorkflowState,
    allowed_in,
)
from awfe.domain.waiting import given_up
from awfe.errors import ErrorState, InvalidInput, InvalidState, WorkflowLocked

_NEEDS_REST = (Answer.RUNS, Answer.RUNS_IF_RERUN, Answer.CHANGED, Answer.ROLLS_BACK)
_HALTED = (WorkflowState.PAUSED, WorkflowState.STOPPED, WorkflowState.ERROR)
_CUT_OFF = (StepState.STOPPED, StepState.INTERRUPTED)


def check(head: Head, verb: Verb) -> Answer:
    """Return what a verb does now; raises `InvalidState`, `ErrorState` or `WorkflowLocked` where it is refused."""
    answer = VERBS[verb][head.state]
    if answer is Answer.RUNS_IF_RERUN and head.step_state not in _CUT_OFF:
        answer = Answer.ERROR_STATE
    if answer is Answer.LOCKED or (head.owner is not None and answer in _NEEDS_REST):
        raise locked(head, verb)
    if head.undoing and head.state in _HALTED and verb not in WHILE_UNDOING:
        raise _halfway(head, verb)
    if answer in (Answer.REFUSED, Answer.ERROR_STATE):
        raise refusal(head, verb, answer)
    return answer


def halting(head: Head, verb: Verb, *, in_line: bool) -> Answer:
    """Return what a pause or stop does now; one that stands in line is taken out of it, whatever its state."""
    if in_line and head.state not in (*ACTIVE, WorkflowState.WAITING):
        return Answer.REQUESTED
    return check(head, verb)


def locked(head: Head, verb: Verb) -> WorkflowLocked:
    """Return the refusal that tells where a workflow runs."""
    alive = "" if head.state in ACTIVE else ", but its last step is still alive"
    where = f"is {head.state}{alive} in {head.owner}" if head.owner is not None else "runs elsewhere, or is about to"
    todo = "wait for it, or pause or stop it first"
    what = f"{verb} is allowed in {', '.join(allowed_in(verb))}"
    if head.undoing and verb not in WHILE_UNDOING:
        what, todo = f"{verb} is not allowed in the middle of a rollback", "wait for it"
    return WorkflowLocked(head.name, f"{head.name!r} {where}: {what}; {todo}")


def _halfway(head: Head, verb: Verb) -> InvalidState:
    where = f"{head.name!r} is in state {head.state}, in the middle of a rollback"
    can = ", ".join(each for each in WHILE_UNDOING if each not in (Verb.PAUSE, Verb.STOP))
    kind = ErrorState if verb is Verb.RUN else InvalidState
    return kind(head.name, f"{where}: {verb} is not allowed there; what is: {can}")


def refusal(head: Head, verb: Verb, answer: Answer) -> InvalidState:
    """Return the refusal that names the state, the verb and the states that allow it."""
    where = f"{head.name!r} is in state {head.state}"
    states = ", ".join(state for state in allowed_in(verb) if state is not head.state)
    if answer is Answer.ERROR_STATE:
        return ErrorState(head.name, f"{where}: {verb} is allowed in {states}; {_way_on(head)}")
    return InvalidState(head.name, f"{where}: {verb} is allowed in {states}")


def _way_on(head: Head) -> str:
    if head.state is WorkflowState.ROLLED_BACK:
        return "restart or reset it from a step"
    if head.state is WorkflowState.STOPPED:
        why = "its step is not declared rerun" if head.step_state in _CUT_OFF else "no step was cut off"
        return f"{why}: restart, reset or skip it"
    return "mend the cause, then restart, reset or skip its step"


def reset(head: Head, progress: Progress, by: By, now: datetime, *, kept: Delta, delta: Delta) -> Move:
    """Make the failed, stopped or interrupted step pending again; `kept` is what its attempt changed.

    What an operator has edited since stays as he left it.
    """
    check(head, Verb.RESET)
    note = Noted(Cause.RESET, now, progress.reached, by, kept.without(progress.edited).then(delta))
    return Move(Cause.RESET, head, _at_rest(head, WorkflowState.PAUSED), noted=note)


def reset_from(head: Head, progress: Progress, by: By, now: datetime, *, first: int, delta: Delta) -> Move:
    """Make every step from `first` on pending again, with the context as it was before it first began."""
    if type(first) is not int or not 1 <= first <= head.step_count:
        msg = f"from_step={first!r}: {head.name!r} has the steps 1 to {head.step_count}"
        raise InvalidInput(msg)
    check(head, Verb.RESET_FROM)
    if head.position is not None and first > head.position:
        msg = f"{head.name!r} is at step {head.position}: reset from_step={first} would pass over steps; use skip"
        raise InvalidState(head.name, msg)
    state = WorkflowState.PAUSED if head.started_at else WorkflowState.PENDING
    ended = given_up(head, now)
    last = ended.attempt if ended and ended.position == first else progress.attempts.get(first, 0)
    after = _at_rest(head, state, position=first, attempt=last)
    return Move(Cause.RESET_FROM, head, after, ended, Noted(Cause.RESET_FROM, now, first - 1, by, delta))


def skip(head: Head, progress: Progress, by: By, now: datetime, *, delta: Delta) -> Move:
    """Pass over the current step: somebody did it by hand, or it is not needed."""
    check(head, Verb.SKIP)
    note = Noted(Cause.SKIP, now, head.at, by, delta)
    if head.at == head.step_count:
        done = replace(_at_rest(head, WorkflowState.COMPLETED), position=None, step_state=None, attempt=0, ended_at=now)
        return Move(Cause.SKIP, head, done, given_up(head, now), note)
    after = _at_rest(head, WorkflowState.PAUSED, position=head.at + 1, attempt=progress.attempts.get(head.at + 1, 0))
    return Move(Cause.SKIP, head, after, given_up(head, now), note)


def update_context(head: Head, progress: Progress, by: By, now: datetime, *, delta: Delta) -> Move:
    """Change values of the context; the state stays."""
    check(head, Verb.UPDATE_CONTEXT)
    after = replace(head, rev=head.rev + 1, token=head.token + 1)
    return Move(Cause.UPDATE_CONTEXT, head, after, noted=Noted(Cause.UPDATE_CONTEXT, now, progress.reached, by, delta))


def _at_rest(head: Head, state: WorkflowState, **changes: object) -> Head:
    rest: dict[str, object] = {
        "rev": head.rev + 1,
        "token": head.token + 1,
        "state": state,
        "step_state": StepState.PENDING,
        "due_at": None,
        "wait": None,
        "attempt_started_at": None,
        "undoing": False,
        "ended_at": None,
        "resumable": False,
        "owner": None,
    }
    return replace(head, **(rest | changes))
