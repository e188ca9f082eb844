"""What comes next: from an outcome, and what is asked of the run, to a move. No I/O, no clock of its own."""

from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final, assert_never

import msgspec
from msgspec.structs import replace

from awfe.domain import moves, undoing, waiting
from awfe.domain.moves import Ended, Head, Move, Noted
from awfe.domain.outcomes import Ending, Outcome
from awfe.domain.states import Cause, StepState, WorkflowState
from awfe.domain.step import Policies
from awfe.domain.waits import Wait, saved

# A longer delay is not waited for in the run.
LONG_DELAY: Final = 10.0


class Halt(IntEnum):
    """What is asked of a run; the greater wins. A shutdown is a pause that nobody has to end."""

    NONE = 0
    SHUTDOWN = 1
    PAUSE = 2
    STOP = 3

    @property
    def state(self) -> WorkflowState:
        """The state that it leads to between two steps."""
        return _STATES[self]


_STATES = {
    Halt.NONE: WorkflowState.RUNNING,
    Halt.SHUTDOWN: WorkflowState.PAUSED,
    Halt.PAUSE: WorkflowState.PAUSED,
    Halt.STOP: WorkflowState.STOPPED,
}


class Situation(msgspec.Struct, frozen=True):
    """All that a decision needs to know besides the outcome.

    `next_attempt` is the number of the next attempt of the step that follows; `way`: in a rollback, the position of
    that step, None when it was the last.
    """

    head: Head
    policies: Policies
    failures: int
    next_attempt: int
    halt: Halt
    now: datetime
    way: int | None = None


def decide(situation: Situation, outcome: Outcome) -> Move:
    """Return the move that follows an attempt; asked again when a request turns up meanwhile."""
    head, halt = situation.head, situation.halt
    resumable = halt is Halt.SHUTDOWN
    match outcome.ending:
        case Ending.COMPLETED:
            return _after_success(situation, outcome)
        case Ending.WAITING:
            return _begins_to_wait(situation, outcome)
        case Ending.FAILED:
            return _after_failure(situation, outcome)
        case Ending.STOPPED:
            ended = _ended(situation, outcome, StepState.STOPPED)
            return moves.stopped(head, ended, alive=outcome.alive)
        case Ending.INTERRUPTED:
            ended = _ended(situation, outcome, StepState.INTERRUPTED)
            rerun = (situation.policies.rerun and not head.undoing) or not outcome.begun
            return moves.shut_down(head, ended, rerun=rerun, resumable=resumable, alive=outcome.alive)
        case _:
            assert_never(outcome.ending)


def _after_success(situation: Situation, outcome: Outcome) -> Move:
    head, halt = situation.head, situation.halt
    resumable = halt is Halt.SHUTDOWN
    if head.undoing:
        ended = _ended(situation, outcome, StepState.UNDONE)
        state = halt.state if halt else WorkflowState.ROLLING_BACK
        return undoing.undone(head, ended, state, situation.way, situation.next_attempt, resumable=resumable)
    ended = _ended(situation, outcome, StepState.COMPLETED)
    move = moves.step_passed(head, ended, halt.state, situation.next_attempt, resumable=resumable)
    return move if outcome.signal is None else replace(move, signal=outcome.signal)


def _begins_to_wait(situation: Situation, outcome: Outcome) -> Move:
    head, halt, now = situation.head, situation.halt, situation.now
    assert outcome.waiting is not None  # noqa: S101 - that is what the ending says
    if halt is Halt.STOP:
        return moves.stopped(head, _ended(situation, outcome, StepState.STOPPED))
    wait, due_at = (outcome.waiting, head.due_at) if isinstance(outcome.waiting, Wait) else saved(outcome.waiting, now)
    # A closing engine leaves alone what waits: that needs no engine.
    state = WorkflowState.PAUSED if halt is Halt.PAUSE else WorkflowState.WAITING
    line = Noted(
        Cause.STEP_WAITING,
        now,
        head.at,
        delta=outcome.delta,
        detail=wait.signal,
        attempt=head.attempt,
        output=outcome.output,
    )
    return waiting.waits(head, wait, due_at, state, line)


def _after_failure(situation: Situation, outcome: Outcome) -> Move:
    head, halt, retry = situation.head, situation.halt, situation.policies.retry
    resumable = halt is Halt.SHUTDOWN
    failed = _ended(situation, outcome, StepState.ERROR)
    failures = situation.failures + 1
    if outcome.alive:
        # Neither a retry nor the next step may overlap a body that still runs.
        return moves.failed(head, failed, alive=True)
    if failures < retry.attempts:
        if halt:
            return moves.halted_between(head, failed, halt.state, resumable=resumable)
        delay = retry.delay(failures)
        due_at = situation.now + timedelta(seconds=delay) if delay else None
        return moves.retried(head, failed, due_at, waiting=delay >= LONG_DELAY and not head.undoing)
    if situation.policies.on_error == "skip" and not head.undoing:
        ended = _ended(situation, outcome, StepState.SKIPPED)
        return moves.step_passed(head, ended, halt.state, situation.next_attempt, resumable=resumable)
    return moves.failed(head, failed)


def _ended(situation: Situation, outcome: Outcome, state: StepState) -> Ended:
    head = situation.head
    started_at = head.attempt_started_at or situation.now
    return Ended(head.at, head.attempt, state, started_at, situation.now, outcome.delta, outcome.output, outcome.error)
