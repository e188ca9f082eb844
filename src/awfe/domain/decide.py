"""What comes next: from an outcome, and what is asked of the run, to a move. No I/O, no clock of its own."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import assert_never

from awfe.domain import moves
from awfe.domain.moves import Ended, Head, Move
from awfe.domain.outcomes import Ending, Outcome
from awfe.domain.states import StepState, WorkflowState
from awfe.domain.step import Policies


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


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a decision needs to know besides the outcome."""

    head: Head
    policies: Policies
    failures: int
    next_attempt: int
    halt: Halt
    now: datetime


def decide(situation: Situation, outcome: Outcome) -> Move:
    """Return the move that follows an attempt; asked again when a request turns up meanwhile."""
    head, halt = situation.head, situation.halt
    resumable = halt is Halt.SHUTDOWN
    match outcome.ending:
        case Ending.COMPLETED:
            ended = _ended(situation, outcome, StepState.COMPLETED)
            return moves.step_passed(head, ended, halt.state, situation.next_attempt, resumable=resumable)
        case Ending.FAILED:
            return _after_failure(situation, outcome)
        case Ending.STOPPED:
            ended = _ended(situation, outcome, StepState.STOPPED)
            return moves.stopped(head, ended, alive=outcome.alive)
        case Ending.INTERRUPTED:
            ended = _ended(situation, outcome, StepState.INTERRUPTED)
            rerun = situation.policies.rerun or not outcome.begun
            return moves.shut_down(head, ended, rerun=rerun, resumable=resumable, alive=outcome.alive)
        case _:
            assert_never(outcome.ending)


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
        return moves.retried(head, failed, situation.now + timedelta(seconds=delay) if delay else None)
    if situation.policies.on_error == "skip":
        ended = _ended(situation, outcome, StepState.SKIPPED)
        return moves.step_passed(head, ended, halt.state, situation.next_attempt, resumable=resumable)
    return moves.failed(head, failed)


def _ended(situation: Situation, outcome: Outcome, state: StepState) -> Ended:
    head = situation.head
    started_at = head.attempt_started_at or situation.now
    return Ended(head.at, head.attempt, state, started_at, situation.now, outcome.delta, outcome.output, outcome.error)
