"""Rolling a workflow back: which undo is next, and the moves that lead there."""

from collections.abc import Collection

from awfe.domain.claims import Claimant
from awfe.domain.log import Progress
from awfe.domain.moves import Ended, Head, Move, Noted, aside, moved
from awfe.domain.states import Cause, StepState, WorkflowState
from awfe.domain.waiting import given_up

_BEGUN = (StepState.ERROR, StepState.STOPPED, StepState.INTERRUPTED, StepState.WAITING)


class Way:
    """The way back through the steps that have something to undo, from the last completed one down."""

    def __init__(self, undoable: Collection[int], progress: Progress) -> None:
        """Go by what the log tells; `undoable` are the positions of steps with an `undo` of their own."""
        self._targets = [at for at in undoable if progress.ended.get(at) is StepState.COMPLETED]

    def below(self, position: int) -> int | None:
        """Return the step whose undo is next, None when nothing is left to undo."""
        return max((target for target in self._targets if target < position), default=None)

    def first(self, head: Head, *, current: bool, skip: bool, undoable: Collection[int]) -> int | None:
        """Return the step to begin with, or to go on with where a rollback was halted or has failed."""
        if head.position is None:
            return self.below(head.step_count + 1)
        if head.undoing:
            # Another version of the program may have taken its `undo` away.
            return self.below(head.position) if skip or head.position not in undoable else head.position
        tried = head.step_state in _BEGUN and head.position in undoable
        return head.position if current and tried else self.below(head.position)


def claimed(head: Head, way: int | None, attempt: int, who: Claimant) -> Move:
    """A runner has the lock: the undo of the step `way` begins; where that is None, nothing is left to undo."""
    noted = Noted(Cause.ROLLBACK, who.now, way or 0, who.by, detail=who.owner)
    ended = given_up(head, who.now)
    if way is None:
        nowhere = {"position": None, "step_state": None, "attempt": 0, "token": head.token + 1, "undoing": True}
        return Move(Cause.ROLLBACK, head, moved(head, WorkflowState.ROLLED_BACK, who.now, **nowhere), ended, noted)
    begun = {"position": way, "step_state": StepState.RUNNING, "attempt": attempt, "attempt_started_at": who.now}
    after = moved(head, WorkflowState.ROLLING_BACK, who.now, undoing=True, **begun, **who.changes(head))
    return Move(Cause.ROLLBACK, head, after, ended, noted)


def undone(head: Head, ended: Ended, state: WorkflowState, way: int | None, attempt: int, *, resumable: bool) -> Move:
    """A step is undone: the undo of the step `way` begins, or the workflow halts before it, or all is rolled back."""
    now = ended.ended_at
    if way is None:
        after = moved(head, WorkflowState.ROLLED_BACK, now, position=None, step_state=None, attempt=0)
    elif state is WorkflowState.ROLLING_BACK:
        begun = {"step_state": StepState.RUNNING, "attempt": attempt, "attempt_started_at": now}
        after = moved(head, state, now, position=way, **begun)
    else:
        pending = {"step_state": StepState.PENDING, "attempt": attempt - 1, "resumable": resumable}
        after = moved(head, state, now, position=way, **pending)
    return Move(Cause.STEP_UNDONE, head, after, ended, aside(head, after, now))
