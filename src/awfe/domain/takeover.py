"""Moves that others make for a runner that is gone, frozen or fenced."""

from datetime import datetime

from awfe.domain.moves import WANTED, By, Ended, Head, Move, Noted, moved
from awfe.domain.states import Cause, StepState, WorkflowState
from awfe.domain.waiting import still_waits


def taken_over(head: Head, now: datetime, by: By, *, rerun: bool) -> Move:
    """The runner is gone: what its step did is unknown, so only a declared `rerun` goes on; requests are honoured."""
    noted = Noted(Cause.TAKEOVER, now, head.at, by, detail=head.owner)
    if head.undoing:
        return _undo_lost(head, now, noted)
    if head.waits and head.request != "stop":
        state = WorkflowState.PAUSED if head.request else WorkflowState.WAITING
        after = moved(head, state, now, token=head.token + 1, waiter=None, **still_waits(head))
        return Move(Cause.TAKEOVER, head, after, noted=noted)
    if head.waits:
        after = moved(head, WorkflowState.STOPPED, now, token=head.token + 1, step_state=StepState.STOPPED)
        return Move(Cause.STEP_STOPPED, head, after, _cut_off(head, StepState.STOPPED, now), noted)
    wanted = WANTED[head.request or "pause"]
    between = head.attempt_started_at is None
    state = wanted if between or rerun else WorkflowState.ERROR
    cause = Cause.TAKEOVER if between else Cause.STEP_INTERRUPTED
    pending = between or state is WorkflowState.PAUSED
    after = moved(
        head,
        state,
        now,
        step_state=StepState.PENDING if pending else StepState.INTERRUPTED,
        token=head.token + 1,
        resumable=state is WorkflowState.PAUSED and head.request is None,
    )
    return Move(cause, head, after, None if between else _cut_off(head, StepState.INTERRUPTED, now), noted)


def _undo_lost(head: Head, now: datetime, noted: Noted) -> Move:
    after = moved(head, WorkflowState.ERROR, now, token=head.token + 1, step_state=StepState.INTERRUPTED)
    if head.attempt_started_at is None:
        return Move(Cause.TAKEOVER, head, after, noted=noted)
    return Move(Cause.STEP_INTERRUPTED, head, after, _cut_off(head, StepState.INTERRUPTED, now), noted)


def fenced(head: Head, now: datetime, by: By) -> Move:
    """A runner does not act on a stop: nobody knows whether its step goes on, but it can't save anything any more."""
    token = head.token + 1
    note = Noted(Cause.FENCED, now, head.at, by, detail=head.owner)
    if head.attempt_started_at is None:
        after = moved(head, WorkflowState.STOPPED, now, token=token, owner=head.owner)
        return Move(Cause.HALTED, head, after, noted=note)
    after = moved(head, WorkflowState.STOPPED, now, token=token, owner=head.owner, step_state=StepState.STOPPED)
    return Move(Cause.STEP_STOPPED, head, after, _cut_off(head, StepState.STOPPED, now), note)


def _cut_off(head: Head, outcome: StepState, now: datetime) -> Ended:
    return Ended(head.at, head.attempt, outcome, head.attempt_started_at or now, now)


def body_ended(head: Head, now: datetime) -> Move:
    """The body of a fenced step has ended, or its process has: nothing of it lives any more."""
    after = moved(head, head.state, now, resumable=head.resumable)
    return Move(Cause.BODY_ENDED, head, after, noted=Noted(Cause.BODY_ENDED, now, head.at, detail=head.owner))
