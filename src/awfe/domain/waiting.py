"""Moves of workflows whose current step waits."""

from datetime import datetime

from msgspec.structs import replace

from awfe.domain.moves import By, Ended, Head, Move, Noted, moved
from awfe.domain.outcomes import ErrorInfo
from awfe.domain.states import Cause, StepState, WorkflowState
from awfe.domain.waits import Wait


def still_waits(head: Head) -> dict[str, object]:
    """Return what stays of a step that waits, whatever becomes of its workflow."""
    return {"wait": head.wait, "due_at": head.due_at, "attempt_started_at": head.attempt_started_at}


def ready(head: Head, now: datetime, *, signalled: bool) -> bool:
    """Tell whether a workflow may go on that waits: what its step waits for is there, or its next attempt is due."""
    if head.wait is not None:
        return head.wait.woken(head.due_at, now, signalled=signalled) is not None
    return head.due_at is None or head.due_at <= now


def waits(head: Head, wait: Wait, due_at: datetime | None, state: WorkflowState, line: Noted) -> Move:
    """A step begins to wait, or goes on with it: nobody holds anything meanwhile, and what it changed is saved."""
    begun = {"attempt_started_at": head.attempt_started_at, "wait": wait, "due_at": due_at, "waiter": head.owner}
    after = moved(head, state, line.at, step_state=StepState.WAITING, **begun)
    return Move(Cause.STEP_WAITING, head, after, noted=line)


def given_up(head: Head, now: datetime) -> Ended | None:
    """Return the attempt that waits and does so no more, because somebody has decided otherwise."""
    if not head.waits:
        return None
    return Ended(head.at, head.attempt, StepState.STOPPED, head.attempt_started_at or now, now)


def wait_paused(head: Head, now: datetime, by: By) -> Move:
    """Somebody pauses a workflow that waits: it is paused at once, and its step waits on."""
    after = moved(head, WorkflowState.PAUSED, now, token=head.token + 1)
    if head.waits:
        after = replace(after, **still_waits(head))
    return Move(Cause.PAUSE, head, after, noted=Noted(Cause.PAUSE, now, head.at, by))


def wait_stopped(head: Head, now: datetime, by: By) -> Move:
    """Somebody stops a workflow that waits: its step is stopped at once."""
    token = head.token + 1
    noted = Noted(Cause.STOP, now, head.at, by)
    if not head.waits:
        return Move(Cause.STOP, head, moved(head, WorkflowState.STOPPED, now, token=token), noted=noted)
    after = moved(head, WorkflowState.STOPPED, now, token=token, step_state=StepState.STOPPED)
    return Move(Cause.STOP, head, after, given_up(head, now), noted)


def rejected(head: Head, now: datetime, by: By, error: ErrorInfo) -> Move:
    """Somebody rejects what an approval asks for: its step fails."""
    after = moved(head, WorkflowState.ERROR, now, token=head.token + 1, step_state=StepState.ERROR)
    ended = Ended(head.at, head.attempt, StepState.ERROR, head.attempt_started_at or now, now, error=error)
    return Move(Cause.REJECT, head, after, ended, Noted(Cause.REJECT, now, head.at, by))
