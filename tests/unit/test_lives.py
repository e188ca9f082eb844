"""Lives of workflows, made of all that can happen to one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from awfe.domain import claims, moves, takeover, undoing, verbs, waiting
from awfe.domain.decide import Halt, Situation, decide
from awfe.domain.delta import NO_CHANGE
from awfe.domain.log import Progress
from awfe.domain.moves import NOBODY, By, Move
from awfe.domain.outcomes import ErrorInfo
from awfe.domain.retry import Retry
from awfe.domain.states import ACTIVE, ALLOWED, WHILE_UNDOING, Answer, StepState, Verb, WorkflowState, allowed_in
from awfe.domain.step import Policies
from awfe.errors import InvalidState, WorkflowLocked
from tests.unit.heads import NOW, assert_storable, claimant, head
from tests.unit.situations import ended_outcomes, outcomes, waited

ANN = By("ann", "because")
RETRIES = [Retry(attempts=3), Retry(attempts=3, wait=0), Retry(attempts=3, wait=60)]
STANDS = (Answer.REQUESTED, Answer.RETURNS, Answer.STORED, Answer.DELIVERED)
HALTED = (WorkflowState.PAUSED, WorkflowState.STOPPED, WorkflowState.ERROR)


class Life:
    """A workflow to which anything happens that can happen to it."""

    def __init__(self, draw: st.DataObject, step_count: int) -> None:
        """Begin with a new workflow."""
        self._draw = draw
        self.head = head(step_count=step_count)

    def go(self) -> None:
        """Let one more thing happen, and check what it leads to."""
        before = self.head
        move = self._runner_moves() if before.state in ACTIVE else self._operator_moves()
        if move is None:
            return
        assert (move.cause, before.state, move.after.state) in ALLOWED
        assert move.after.rev == before.rev + 1
        assert move.after.token - before.token in (0, 1)
        assert_storable(move.after)
        # An attempt that has begun goes on, or is kept with its end.
        began, goes_on = before.attempt_started_at, move.after.attempt_started_at
        if began is not None and (goes_on != began or move.after.attempt != before.attempt):
            assert move.ended is not None
            assert (move.ended.attempt, move.ended.position) == (before.attempt, before.position)
        self.head = move.after

    def _runner_moves(self) -> Move:
        head, draw = self.head, self._draw.draw
        if draw(st.booleans(), label="ask"):
            head = replace(head, request=draw(st.sampled_from(["pause", "stop"])), stop_grace=1.0)
        if draw(st.integers(0, 4), label="crash") == 0:
            return takeover.taken_over(head, NOW, NOBODY, rerun=draw(st.booleans()))
        if head.request == "stop" and draw(st.booleans(), label="frozen"):
            return takeover.fenced(head, NOW, ANN)
        asked = Halt.NONE if head.request is None else Halt[head.request.upper()]
        halt = draw(st.sampled_from([halt for halt in Halt if halt >= asked]))
        if head.due_at is not None and not head.waits:
            if halt:
                return moves.halted(head, halt.state, NOW, resumable=halt is Halt.SHUTDOWN)
            return moves.begun(head, NOW)
        if not head.waits and draw(st.booleans(), label="checkpoint"):
            return moves.checkpointed(head, NO_CHANGE, NOW)
        policies = Policies(retry=draw(st.sampled_from(RETRIES)), on_error=draw(st.sampled_from(["pause", "skip"])))
        way = draw(st.none() | st.integers(1, head.at - 1)) if head.undoing and head.at > 1 else None
        situation = Situation(head, policies, draw(st.integers(0, 3)), draw(st.integers(1, 3)), halt, NOW, way)
        return decide(situation, draw(waited if head.waits else ended_outcomes if head.undoing else outcomes))

    def _operator_moves(self) -> Move | None:
        head, progress = self.head, Progress(reached=(self.head.position or 1) - 1)
        if head.owner is not None:
            with pytest.raises(WorkflowLocked):
                verbs.check(head, Verb.DELETE)
            return takeover.body_ended(head, NOW)
        verb = self._draw.draw(st.sampled_from([verb for verb in Verb if head.state in allowed_in(verb)]))
        if head.undoing and head.state in HALTED and verb not in WHILE_UNDOING:
            with pytest.raises(InvalidState, match="in the middle of a rollback"):
                verbs.check(head, verb)
            return None
        if verb is Verb.RUN and head.state is WorkflowState.STOPPED and head.step_state is StepState.PENDING:
            return None
        if verbs.check(head, verb) in STANDS:
            return None
        make: dict[Verb, Any] = {
            Verb.RUN: self._claim,
            Verb.ROLLBACK: self._roll_back,
            Verb.PAUSE: lambda: waiting.wait_paused(head, NOW, ANN),
            Verb.STOP: self._stop_or_reject,
            Verb.RESET: lambda: verbs.reset(head, progress, ANN, NOW, kept=NO_CHANGE, delta=NO_CHANGE),
            Verb.RESET_FROM: lambda: verbs.reset_from(head, progress, ANN, NOW, first=1, delta=NO_CHANGE),
            Verb.SKIP: lambda: verbs.skip(head, progress, ANN, NOW, delta=NO_CHANGE),
            Verb.UPDATE_CONTEXT: lambda: verbs.update_context(head, progress, ANN, NOW, delta=NO_CHANGE),
        }
        move: Move | None = make[verb]() if verb in make else None
        return move

    def _claim(self) -> Move:
        head = self.head
        again = head.wait is not None and head.wait.kind == "again" and self._draw.draw(st.booleans())
        if head.wait is not None and not again:
            return claims.claimed_waiting(head, claimant())
        return claims.claimed(head, head.attempt if head.waits else head.attempt + 1, claimant())

    def _roll_back(self) -> Move:
        steps = st.integers(1, self.head.position or self.head.step_count)
        return undoing.claimed(self.head, self._draw.draw(st.none() | steps), 7, claimant())

    def _stop_or_reject(self) -> Move:
        if self.head.waits and self._draw.draw(st.booleans(), label="reject"):
            return waiting.rejected(self.head, NOW, ANN, ErrorInfo("Rejected", "no"))
        return waiting.wait_stopped(self.head, NOW, ANN)


@given(st.data(), st.integers(1, 3), st.integers(1, 30))
def test_whatever_happens_leads_to_what_the_schema_can_hold(draw: st.DataObject, steps: int, length: int) -> None:
    """Runners, crashes, requests, operators and waits, in any order."""
    life = Life(draw, steps)
    for _ in range(length):
        life.go()
