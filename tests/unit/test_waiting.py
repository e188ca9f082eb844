"""Workflows whose step waits: claimed, woken, paused, stopped, rejected, decided on."""

from datetime import datetime, timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from msgspec.structs import replace

from awfe.domain import claims, waiting
from awfe.domain.decide import LONG_DELAY, Halt, Situation, decide
from awfe.domain.delta import Delta
from awfe.domain.moves import By, Head
from awfe.domain.outcomes import Ending, ErrorInfo, Outcome
from awfe.domain.retry import Retry
from awfe.domain.states import Cause, StepState, WorkflowState
from awfe.domain.step import Policies
from awfe.domain.waits import Again, Sleep, Wait, WaitFor, Waiting, saved
from tests.unit.heads import LATER, NOW, STARTED_AT, assert_storable, claimant, essence, head, rolling_back, running
from tests.unit.heads import waiting as waiting_head
from tests.unit.situations import FAILED, heads, situation, waited, waiting_heads, waitings, waits

ANN = By("ann", "because")
DELTA = Delta.of({"a": 1})
WAITS = WorkflowState.WAITING


@given(heads(back=False), waitings, st.sampled_from([Halt.NONE, Halt.SHUTDOWN, Halt.PAUSE]))
def test_a_step_begins_to_wait(before: Head, given_: Waiting, halt: Halt) -> None:
    """It is in the middle of its attempt, what it changed is saved, and nobody holds anything."""
    outcome = Outcome(Ending.WAITING, DELTA, "printed", waiting=given_)
    move = decide(Situation(before, Policies(), 0, 1, halt, LATER), outcome)
    after = move.after
    assert (move.cause, move.ended, move.signal) == (Cause.STEP_WAITING, None, None)
    assert (after.state, after.step_state) == ("paused" if halt is Halt.PAUSE else "waiting", "waiting")
    assert (after.wait, after.due_at) == saved(given_, LATER)
    assert (after.position, after.attempt, after.attempt_started_at) == (before.at, before.attempt, STARTED_AT)
    assert (after.owner, after.waiter, after.token, after.resumable) == (None, before.owner, before.token, False)
    assert move.noted is not None
    assert essence(move.noted) == ("step_waiting", before.at, getattr(given_, "signal", None))
    assert (move.noted.delta, move.noted.output, move.noted.attempt) == (DELTA, "printed", before.attempt)
    assert_storable(after)


@given(heads(back=False), waitings)
def test_a_step_that_is_asked_to_stop_does_not_begin_to_wait(before: Head, given_: Waiting) -> None:
    """Its attempt is stopped, and keeps what it changed."""
    outcome = Outcome(Ending.WAITING, DELTA, "printed", waiting=given_)
    move = decide(Situation(before, Policies(), 0, 1, Halt.STOP, LATER), outcome)
    assert (move.after.state, move.after.step_state, move.after.wait) == ("stopped", "stopped", None)
    assert move.ended is not None
    assert (move.ended.outcome, move.ended.delta, move.ended.output) == (StepState.STOPPED, DELTA, "printed")


@given(waiting_heads())
def test_whoever_claims_what_waits_only_looks(before: Head) -> None:
    """It goes on waiting for the same, in the same attempt, until it is decided."""
    move = claims.claimed_waiting(before, claimant())
    after = move.after
    assert (move.cause, after.state, after.step_state) == (Cause.RUN, "running", before.step_state)
    assert waiting.still_waits(after) == waiting.still_waits(before)
    assert (after.attempt, after.owner, after.run_id, after.stop_grace) == (before.attempt, "host:2", "r2", 7.5)
    assert (after.token, after.rev, after.started_at) == (before.token + 1, before.rev + 1, STARTED_AT)
    assert essence(move.noted) == ("run", before.at, "host:2")
    assert_storable(after)


@given(waiting_heads().filter(lambda head: head.waits), waited, st.sampled_from(Halt))
def test_a_step_that_was_looked_at_is_decided_on_as_one_that_ran(before: Head, outcome: Outcome, halt: Halt) -> None:
    """Completed, failed, waiting on: from the time at which its attempt began."""
    looks = claims.claimed_waiting(before, claimant()).after
    outcome = replace(outcome, signal=5 if outcome.ending is Ending.COMPLETED else None)
    move = decide(Situation(looks, Policies(), 0, 1, halt, LATER), outcome)
    assert_storable(move.after)
    assert move.signal == outcome.signal
    if outcome.ending is Ending.WAITING and halt is not Halt.STOP:
        assert move.ended is None
        saved_already = isinstance(outcome.waiting, Wait)
        assert not saved_already or (move.after.wait, move.after.due_at) == (outcome.waiting, before.due_at)
        return
    assert move.after.wait is None
    assert move.ended is not None
    assert (move.ended.started_at, move.ended.attempt, move.ended.position) == (STARTED_AT, before.attempt, before.at)


@given(waiting_heads())
def test_what_polls_is_polled_in_the_same_attempt(before: Head) -> None:
    """It began when it was first called; the next attempt of a retry begins now."""
    move = claims.claimed(before, before.attempt, claimant())
    began = STARTED_AT if before.waits else NOW
    after = move.after
    assert (after.state, after.step_state, after.attempt_started_at) == ("running", "running", began)
    assert (after.wait, after.due_at, after.attempt) == (None, None, before.attempt)
    assert_storable(after)


@given(waiting_heads())
def test_a_pause_of_what_waits_is_there_at_once(before: Head) -> None:
    """Its step waits on; a delay before a retry is over when it is run."""
    move = waiting.wait_paused(before, NOW, ANN)
    after = move.after
    assert (move.cause, after.state, after.step_state) == (Cause.PAUSE, "paused", before.step_state)
    assert (after.wait, after.due_at) == ((before.wait, before.due_at) if before.waits else (None, None))
    assert (after.token, after.rev, after.attempt) == (before.token + 1, before.rev + 1, before.attempt)
    assert (after.attempt_started_at, move.ended) == (before.attempt_started_at, None)
    assert (after.resumable, essence(move.noted)) == (False, ("pause", before.at, None))
    assert move.noted is not None
    assert move.noted.by == ANN
    assert_storable(after)


@given(waiting_heads())
def test_a_stop_of_what_waits_is_there_at_once(before: Head) -> None:
    """The attempt that waited is stopped; where none did, the step is pending."""
    move = waiting.wait_stopped(before, NOW, ANN)
    after = move.after
    assert (move.cause, after.state) == (Cause.STOP, "stopped")
    assert after.step_state == ("stopped" if before.waits else "pending")
    assert (after.wait, after.due_at, after.token) == (None, None, before.token + 1)
    assert (move.ended is not None) == before.waits
    if move.ended is not None:
        assert (move.ended.outcome, move.ended.attempt) == (StepState.STOPPED, before.attempt)
        assert (move.ended.started_at, move.ended.ended_at) == (STARTED_AT, NOW)
    assert essence(move.noted) == ("stop", before.at, None)
    assert_storable(after)


@given(waiting_heads().filter(lambda head: head.waits))
def test_what_is_rejected_fails(before: Head) -> None:
    """With who and why in the history, and an error that an operator resets or skips."""
    error = ErrorInfo("Rejected", "rejected by ann: because")
    move = waiting.rejected(before, NOW, ANN, error)
    after = move.after
    assert (move.cause, after.state, after.step_state, after.wait) == (Cause.REJECT, "error", "error", None)
    assert move.ended is not None
    assert (move.ended.outcome, move.ended.error, move.ended.attempt) == (StepState.ERROR, error, before.attempt)
    assert move.noted is not None
    assert (essence(move.noted), move.noted.by) == (("reject", before.at, None), ANN)
    assert (after.token, after.rev) == (before.token + 1, before.rev + 1)
    assert_storable(after)


@pytest.mark.parametrize("state", [state for state in WorkflowState if state is not WAITS], ids=str)
def test_only_what_waits_can_be_halted_without_its_runner(state: WorkflowState) -> None:
    """A pause, a stop and a rejection of anything else are in no table."""
    before = structs.replace(running(), state=state)
    for make in (
        waiting.wait_paused,
        waiting.wait_stopped,
        partial(waiting.rejected, error=ErrorInfo("Rejected", "no")),
    ):
        with pytest.raises(AssertionError, match="not in TRANSITIONS"):
            make(before, NOW, ANN)


@given(waiting_heads(), st.sampled_from([NOW, LATER]), st.booleans())
def test_what_waits_is_ready_when_its_wait_is_over(before: Head, now: datetime, signalled: bool) -> None:  # noqa: FBT001 - hypothesis gives it
    """Or, between two attempts, when the next is due."""
    due = before.due_at is not None and before.due_at <= now
    assert waiting.ready(before, now, signalled=signalled) == (due or (before.waits and signalled))


def test_what_never_waited_is_ready() -> None:
    """A workflow that is paused or new may go on at once."""
    assert waiting.ready(head(), NOW, signalled=False)


def test_nothing_is_given_up_where_nothing_waits() -> None:
    """An attempt is open only while it runs or waits."""
    assert waiting.given_up(head(), NOW) is None
    assert waiting.given_up(waiting_head(None), NOW) is None


@pytest.mark.parametrize(
    ("wait", "state"), [(9.999, "running"), (LONG_DELAY, "waiting"), (3600, "waiting"), (0, "running")]
)
def test_a_long_delay_is_waited_for_by_nobody(wait: float, state: str) -> None:
    """From 10 seconds on the workflow waits, and gives back what it holds."""
    move = decide(situation(retry=Retry(attempts=2, wait=wait)), FAILED)
    after = move.after
    assert (move.cause, after.state) == (Cause.STEP_ERROR, state)
    assert after.due_at == (NOW + timedelta(seconds=wait) if wait else None)
    assert (after.owner, after.waiter) == ((None, "host:1") if state == "waiting" else ("host:1", None))
    assert move.ended is not None
    assert move.ended.outcome is StepState.ERROR
    assert_storable(after)


@given(st.builds(Retry, attempts=st.just(9), wait=st.floats(0, 100), factor=st.floats(1, 4)), st.integers(0, 7))
def test_every_delay_is_waited_for_where_it_belongs(retry: Retry, failures: int) -> None:
    """Under 10 seconds in the run, else by the workflow; of an undo always in the run."""
    delay = retry.delay(failures + 1)
    forward = decide(situation(failures=failures, retry=retry), FAILED).after
    back = decide(situation(rolling_back(), failures=failures, retry=retry), FAILED).after
    assert (forward.state is WAITS) == (delay >= LONG_DELAY)
    assert back.state == "rolling_back"
    for after in (forward, back):
        assert after.due_at == (NOW + timedelta(seconds=delay) if delay else None)
        assert_storable(after)


@pytest.mark.parametrize("given_", [Sleep(5), Again(5), WaitFor("go", 5)], ids=["sleep", "again", "wait"])
def test_a_wait_that_failed_is_retried_as_any_step(given_: Waiting) -> None:
    """By the next attempt, which waits anew."""
    wait, due_at = saved(given_, STARTED_AT)
    looks = claims.claimed_waiting(waiting_head(wait, due_at=due_at), claimant()).after
    after = decide(situation(looks, retry=Retry(attempts=2, wait=0)), FAILED).after
    assert (after.state, after.step_state, after.attempt, after.attempt_started_at) == ("running", "running", 2, NOW)
    assert (after.wait, after.due_at) == (None, None)


@given(waits)
def test_what_goes_on_waiting_waits_for_the_same(wait: Wait) -> None:
    """Until the same time: being looked at does not make it longer."""
    looks = claims.claimed_waiting(waiting_head(wait), claimant()).after
    move = decide(Situation(looks, Policies(), 0, 1, Halt.NONE, NOW), Outcome(Ending.WAITING, waiting=wait))
    assert (move.after.wait, move.after.due_at, move.after.state) == (wait, LATER, WAITS)
    assert move.after.waiter == "host:2"
