"""Moves with which a runner begins: it has the lock, and takes a new fencing token."""

from dataclasses import dataclass
from datetime import datetime

from awfe.domain.moves import By, Head, Move, Noted, moved
from awfe.domain.states import Cause, StepState, WorkflowState
from awfe.domain.waiting import still_waits


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who claims a workflow, and when; `stop_grace` is what a stop gives that names no other."""

    run_id: str
    owner: str
    now: datetime
    by: By
    stop_grace: float

    def changes(self, head: Head) -> dict[str, object]:
        """Return what a claim changes in the row."""
        return {
            "token": head.token + 1,
            "run_id": self.run_id,
            "owner": self.owner,
            "stop_grace": self.stop_grace,
            "started_at": head.started_at or self.now,
        }


def claimed(head: Head, attempt: int, who: Claimant) -> Move:
    """A runner has the lock: the current step begins."""
    after = moved(
        head,
        WorkflowState.RUNNING,
        who.now,
        step_state=StepState.RUNNING,
        attempt=attempt,
        # Polls of one attempt are one attempt.
        attempt_started_at=(head.attempt_started_at if head.waits else None) or who.now,
        **who.changes(head),
    )
    return Move(Cause.RUN, head, after, noted=Noted(Cause.RUN, who.now, head.at, who.by, detail=who.owner))


def claimed_waiting(head: Head, who: Claimant) -> Move:
    """A runner has the lock of a workflow whose step waits: it sees whether that is over."""
    after = moved(head, WorkflowState.RUNNING, who.now, **who.changes(head), **still_waits(head))
    return Move(Cause.RUN, head, after, noted=Noted(Cause.RUN, who.now, head.at, who.by, detail=who.owner))
