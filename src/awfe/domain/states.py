"""All that can happen to a workflow: its states, and the one table of transitions.

The guards, the CHECK constraints, the diagram in the docs and the tests of every verb are derived from here.
"""

from enum import StrEnum
from typing import NamedTuple


class WorkflowState(StrEnum):
    """Where a workflow stands."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    STOPPED = "stopped"
    ERROR = "error"
    COMPLETED = "completed"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"


class StepState(StrEnum):
    """Where a step stands."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    SKIPPED = "skipped"
    STOPPED = "stopped"
    ERROR = "error"
    INTERRUPTED = "interrupted"
    UNDONE = "undone"


class Cause(StrEnum):
    """Why a line of the history was written."""

    CREATED = "created"
    RUN = "run"
    ATTEMPT_BEGUN = "attempt_begun"
    CHECKPOINT = "checkpoint"
    STEP_COMPLETED = "step_completed"
    STEP_SKIPPED = "step_skipped"
    STEP_ERROR = "step_error"
    STEP_STOPPED = "step_stopped"
    STEP_INTERRUPTED = "step_interrupted"
    STEP_WAITING = "step_waiting"
    STEP_UNDONE = "step_undone"
    HALTED = "halted"
    SHUTDOWN = "shutdown"
    TAKEOVER = "takeover"
    FENCED = "fenced"
    BODY_ENDED = "body_ended"
    PAUSE = "pause"
    STOP = "stop"
    REQUEST_LAPSED = "request_lapsed"
    RESET = "reset"
    RESET_FROM = "reset_from"
    SKIP = "skip"
    UPDATE_CONTEXT = "update_context"
    ROLLBACK = "rollback"
    SIGNAL = "signal"
    APPROVE = "approve"
    REJECT = "reject"
    DELETE = "delete"


class Verb(StrEnum):
    """What people and programs ask of a workflow."""

    RUN = "run"
    PAUSE = "pause"
    STOP = "stop"
    RESET = "reset"
    RESET_FROM = "reset from_step"
    SKIP = "skip"
    UPDATE_CONTEXT = "update_context"
    ROLLBACK = "rollback"
    SIGNAL = "signal"
    DELETE = "delete"


class Answer(StrEnum):
    """What a verb does in a state."""

    RUNS = "runs"
    RUNS_IF_RERUN = "runs if the stopped step is declared rerun, else ErrorState"
    ATTACHES = "attaches, goes on when due"
    RETURNS = "returns at once"
    REQUESTED = "asks the runner"
    HALTS = "at once"
    ROLLS_BACK = "→ rolled_back"
    STORED = "stored"
    DELIVERED = "delivered"
    CHANGED = "changes it"
    LOCKED = "WorkflowLocked"
    REFUSED = "InvalidState"
    ERROR_STATE = "ErrorState"


class Transition(NamedTuple):
    """One thing that can happen, and the states it leads from and to."""

    cause: Cause
    before: tuple[WorkflowState, ...]
    after: tuple[WorkflowState, ...]


_PENDING, _RUNNING, _WAITING, _PAUSED, _STOPPED, _ERROR, _COMPLETED, _BACK, _ROLLED_BACK = WorkflowState
_GOES_ON = (_RUNNING, _PAUSED, _STOPPED, _COMPLETED)
_AT_REST = (_PENDING, _PAUSED, _STOPPED, _ERROR)
_HALTED = (_PAUSED, _STOPPED)

TRANSITIONS = (
    Transition(Cause.CREATED, (), (_PENDING,)),
    # what a runner does
    Transition(Cause.RUN, (_PENDING, _WAITING, _PAUSED, _STOPPED), (_RUNNING,)),
    Transition(Cause.ATTEMPT_BEGUN, (_RUNNING,), (_RUNNING,)),
    Transition(Cause.ATTEMPT_BEGUN, (_BACK,), (_BACK,)),
    Transition(Cause.CHECKPOINT, (_RUNNING,), (_RUNNING,)),
    Transition(Cause.CHECKPOINT, (_BACK,), (_BACK,)),
    Transition(Cause.STEP_COMPLETED, (_RUNNING,), _GOES_ON),
    Transition(Cause.STEP_SKIPPED, (_RUNNING,), _GOES_ON),
    Transition(Cause.STEP_WAITING, (_RUNNING,), (_WAITING, _PAUSED)),
    Transition(Cause.STEP_ERROR, (_RUNNING,), (_RUNNING, _WAITING, _PAUSED, _STOPPED, _ERROR)),
    Transition(Cause.STEP_ERROR, (_BACK,), (_BACK, _PAUSED, _STOPPED, _ERROR)),
    Transition(Cause.STEP_STOPPED, (_RUNNING, _BACK), (_STOPPED,)),
    Transition(Cause.STEP_INTERRUPTED, (_RUNNING,), (_PAUSED, _STOPPED, _ERROR)),
    Transition(Cause.STEP_INTERRUPTED, (_BACK,), (_PAUSED, _ERROR)),
    Transition(Cause.STEP_UNDONE, (_BACK,), (_BACK, _PAUSED, _STOPPED, _ROLLED_BACK)),
    Transition(Cause.HALTED, (_RUNNING, _BACK), _HALTED),
    Transition(Cause.TAKEOVER, (_RUNNING,), (_WAITING, _PAUSED, _STOPPED)),
    Transition(Cause.TAKEOVER, (_BACK,), (_ERROR,)),
    # the body of a fenced step has ended
    *(Transition(Cause.BODY_ENDED, (state,), (state,)) for state in (_PAUSED, _STOPPED, _ERROR)),
    # what an operator does
    Transition(Cause.PAUSE, (_WAITING,), (_PAUSED,)),
    Transition(Cause.STOP, (_WAITING,), (_STOPPED,)),
    Transition(Cause.REJECT, (_WAITING,), (_ERROR,)),
    Transition(Cause.RESET, (_STOPPED, _ERROR), (_PAUSED,)),
    Transition(Cause.RESET_FROM, (_PAUSED, _STOPPED, _ERROR, _COMPLETED), (_PAUSED, _PENDING)),
    Transition(Cause.SKIP, _AT_REST, (_PAUSED, _COMPLETED)),
    *(Transition(Cause.UPDATE_CONTEXT, (state,), (state,)) for state in _AT_REST),
    Transition(Cause.ROLLBACK, (_PAUSED, _STOPPED, _ERROR, _COMPLETED), (_BACK, _ROLLED_BACK)),
    Transition(Cause.DELETE, (*_AT_REST, _COMPLETED, _ROLLED_BACK), ()),
)

ALLOWED = {(t.cause, b, a) for t in TRANSITIONS for b in t.before for a in t.after}

# Only these states may have an attempt running, an end, no current step: the schema holds it as CHECKs.
ACTIVE = (WorkflowState.RUNNING, WorkflowState.ROLLING_BACK)
ENDED = (WorkflowState.COMPLETED, WorkflowState.ROLLED_BACK)
OUTCOMES = (
    StepState.COMPLETED,
    StepState.SKIPPED,
    StepState.STOPPED,
    StepState.ERROR,
    StepState.INTERRUPTED,
    StepState.UNDONE,
)


def _row(cells: str) -> dict[WorkflowState, Answer]:
    answers = {
        "run": Answer.RUNS,
        "rerun": Answer.RUNS_IF_RERUN,
        "wait": Answer.ATTACHES,
        "back": Answer.RETURNS,
        "ask": Answer.REQUESTED,
        "now": Answer.HALTS,
        "undo": Answer.ROLLS_BACK,
        "keep": Answer.STORED,
        "give": Answer.DELIVERED,
        "yes": Answer.CHANGED,
        "lock": Answer.LOCKED,
        "no": Answer.REFUSED,
        "err": Answer.ERROR_STATE,
    }
    return dict(zip(WorkflowState, (answers[cell] for cell in cells.split()), strict=True))


# Columns: pending, running, waiting, paused, stopped, error, completed, rolling_back (as running), rolled_back.
# fmt: off
VERBS = {
    Verb.RUN:            _row("run  lock  wait run   rerun  err  back  lock  err"),
    Verb.PAUSE:          _row("no   ask   now  back  no     no   no    ask   no"),
    Verb.STOP:           _row("no   ask   now  no    back   no   no    ask   no"),
    Verb.RESET:          _row("no   lock  no   no    yes    yes  no    lock  no"),
    Verb.RESET_FROM:     _row("no   lock  no   yes   yes    yes  yes   lock  no"),
    Verb.SKIP:           _row("yes  lock  no   yes   yes    yes  no    lock  no"),
    Verb.UPDATE_CONTEXT: _row("yes  lock  no   yes   yes    yes  no    lock  no"),
    Verb.ROLLBACK:       _row("no   lock  no   undo  undo   undo undo  lock  no"),
    Verb.SIGNAL:         _row("keep give  give keep  keep   keep no    give  no"),
    Verb.DELETE:         _row("yes  lock  no   yes   yes    yes  yes   lock  yes"),
}
# fmt: on

# Of these, what may be done with a workflow whose rollback was halted or has failed: forward is not the way any more.
WHILE_UNDOING = (Verb.ROLLBACK, Verb.RESET_FROM, Verb.SIGNAL, Verb.DELETE, Verb.PAUSE, Verb.STOP)

_REFUSALS = (Answer.REFUSED, Answer.ERROR_STATE, Answer.LOCKED)


def allowed_in(verb: Verb) -> tuple[WorkflowState, ...]:
    """Return the states in which a verb does something."""
    return tuple(state for state, answer in VERBS[verb].items() if answer not in _REFUSALS)


# What `delete` and `purge` may remove.
DELETABLE = tuple(state for state, answer in VERBS[Verb.DELETE].items() if answer is Answer.CHANGED)


def diagram() -> str:
    """Return the transitions as a Mermaid state diagram."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for cause, before, after in TRANSITIONS:
        for source in before or ("[*]",):
            for target in after or ("[*]",):
                if source != target:
                    arrows.setdefault((source, target), []).append(cause)
    lines = [f"    {a} --> {b}: {', '.join(causes)}" for (a, b), causes in arrows.items()]
    return "\n".join(["stateDiagram-v2", *lines]) + "\n"
