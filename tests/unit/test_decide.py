"""What comes next, for every ending, every request and every policy."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from msgspec.structs import replace

from awfe.domain.decide import Halt, decide
from awfe.domain.outcomes import Ending, Outcome
from awfe.domain.retry import NEVER, Retry
from awfe.domain.states import ACTIVE, ALLOWED, Cause, StepState, WorkflowState
from awfe.domain.step import Policies
from tests.unit.heads import NOW, STARTED_AT, assert_storable, essence, running
from tests.unit.situations import BETWEEN, FAILED, Case, cases, situation


@given(cases())
def test_every_decision_is_a_possible_move(case: Case) -> None:
    """It is in the table, raises `rev` by one, ends the attempt, and leads to what the schema can hold."""
    situation, outcome = case
    head = situation.head
    move = decide(situation, outcome)
    after = move.after
    assert (move.cause, head.state, after.state) in ALLOWED
    assert move.before is head
    assert after.rev == head.rev + 1
    assert after.token in (head.token, head.token + 1)
    assert_storable(after)
    if move.ended is None:
        assert (move.cause, outcome.ending) == (Cause.STEP_WAITING, Ending.WAITING)
        return
    assert (move.ended.position, move.ended.attempt) == (head.position, head.attempt)
    assert (move.ended.started_at, move.ended.ended_at) == (STARTED_AT, situation.now)
    assert move.cause == f"step_{move.ended.outcome}"
    assert (move.ended.delta, move.ended.error) == (outcome.delta, outcome.error)
    kept = ("id", "name", "step_count", "created_at", "started_at", "run_id")
    assert [getattr(after, name) for name in kept] == [getattr(head, name) for name in kept]


@given(cases())
def test_a_request_is_never_forgotten(case: Case) -> None:
    """It stays while the workflow runs; else it was done, or is noted as of no effect."""
    situation, outcome = case
    move = decide(situation, outcome)
    asked = situation.head.request
    if move.after.state in ACTIVE:
        assert move.after.request == asked
    elif asked is not None:
        done = move.after.state == {"pause": "paused", "stop": "stopped"}[asked]
        lapsed = move.noted is not None and essence(move.noted) == ("request_lapsed", situation.head.at, asked)
        assert done != lapsed


@given(cases())
def test_only_a_shutdown_leaves_a_pause_that_nobody_has_to_end(case: Case) -> None:
    """`recover()` never ends the pause of a person."""
    situation, outcome = case
    after = decide(situation, outcome).after
    shut_down = situation.halt is Halt.SHUTDOWN
    assert after.resumable == (shut_down and after.state is WorkflowState.PAUSED)


@given(cases())
def test_a_body_that_lives_is_never_overlapped(case: Case) -> None:
    """Nothing runs on beside it; it keeps its owner, and can't commit any more."""
    situation, outcome = case
    if outcome.ending is Ending.COMPLETED or not outcome.alive:
        return
    after = decide(situation, outcome).after
    assert after.state not in (*ACTIVE, WorkflowState.WAITING)
    assert (after.owner, after.token) == (situation.head.owner, situation.head.token + 1)


def test_the_next_step_begins_when_one_is_completed() -> None:
    """At once, with an attempt that counts on from its earlier ones."""
    after = decide(situation(), Outcome(Ending.COMPLETED)).after
    assert (after.state, after.position, after.step_state, after.attempt) == ("running", 2, "running", 4)
    assert (after.attempt_started_at, after.owner) == (NOW, "host:1")


@pytest.mark.parametrize("halt", Halt)
def test_the_last_step_completes_the_workflow(halt: Halt) -> None:
    """Whatever is asked of it."""
    move = decide(situation(running(position=3), halt), Outcome(Ending.COMPLETED))
    after = move.after
    assert (after.state, after.position, after.step_state, after.attempt) == ("completed", None, None, 0)
    assert (after.ended_at, after.resumable, after.owner) == (NOW, False, None)


@pytest.mark.parametrize(("halt", "state"), BETWEEN)
def test_a_run_halts_after_a_completed_step(halt: Halt, state: str) -> None:
    """The next step is pending, and its next attempt is the one that counts on."""
    move = decide(situation(halt=halt), Outcome(Ending.COMPLETED))
    after = move.after
    assert (after.state, after.position, after.step_state, after.attempt) == (state, 2, "pending", 3)
    assert move.cause is Cause.STEP_COMPLETED
    assert essence(move.noted) == (("shutdown", 1, None) if halt is Halt.SHUTDOWN else None)


def test_a_failed_step_is_an_error_without_a_retry() -> None:
    """The step stays where it is."""
    move = decide(situation(), FAILED)
    after = move.after
    assert (after.state, after.position, after.step_state, after.attempt) == ("error", 1, "error", 1)
    assert (move.cause, after.owner) == (Cause.STEP_ERROR, None)


def test_a_retry_waits_first() -> None:
    """Longer after each failure; meanwhile the step is pending, with a time."""
    retry = Retry(attempts=3, wait=5.0, factor=2.0)
    first = decide(situation(retry=retry), FAILED).after
    second = decide(situation(retry=retry, failures=1), FAILED).after
    assert (first.state, first.step_state, first.attempt) == ("running", "pending", 1)
    assert (first.due_at, second.due_at) == (NOW + timedelta(seconds=5), NOW + timedelta(seconds=10))
    assert first.attempt_started_at is None


def test_a_retry_without_a_wait_begins_at_once() -> None:
    """No pending in between."""
    after = decide(situation(retry=Retry(attempts=2, wait=0)), FAILED).after
    assert (after.state, after.step_state, after.attempt) == ("running", "running", 2)
    assert (after.attempt_started_at, after.due_at) == (NOW, None)


@pytest.mark.parametrize(("failures", "state"), [(0, "running"), (1, "running"), (2, "error"), (3, "error")])
def test_the_budget_of_retries_has_an_end(failures: int, state: str) -> None:
    """`attempts` are all attempts, the first included."""
    assert decide(situation(failures=failures, retry=Retry(attempts=3)), FAILED).after.state == state


@pytest.mark.parametrize(("halt", "state"), BETWEEN)
def test_a_run_halts_between_two_attempts(halt: Halt, state: str) -> None:
    """At once: the retry comes when it goes on."""
    move = decide(situation(halt=halt, retry=Retry(attempts=3)), FAILED)
    after = move.after
    assert (after.state, after.position, after.step_state, after.due_at) == (state, 1, "pending", None)
    assert move.ended is not None
    assert move.ended.outcome is StepState.ERROR


@pytest.mark.parametrize("halt", Halt)
def test_a_step_that_fails_for_good_is_an_error_whatever_is_asked(halt: Halt) -> None:
    """A pause or a stop does not hide it."""
    assert decide(situation(halt=halt), FAILED).after.state is WorkflowState.ERROR


@pytest.mark.parametrize(("halt", "state"), [(Halt.NONE, "running"), *BETWEEN])
def test_an_error_may_be_skipped(halt: Halt, state: str) -> None:
    """`on_error="skip"` passes over it, after the retries, and keeps the error."""
    move = decide(situation(halt=halt, on_error="skip"), FAILED)
    assert (move.cause, move.after.state, move.after.position) == (Cause.STEP_SKIPPED, state, 2)
    assert move.ended is not None
    assert (move.ended.outcome, move.ended.error) == (StepState.SKIPPED, FAILED.error)


def test_retries_come_before_the_skip() -> None:
    """`on_error` is for an error that stays."""
    move = decide(situation(on_error="skip", retry=Retry(attempts=2)), FAILED)
    assert (move.cause, move.after.state) == (Cause.STEP_ERROR, WorkflowState.RUNNING)


def test_skipping_the_error_of_the_last_step_completes() -> None:
    """There is nothing left to do."""
    move = decide(situation(running(position=3), on_error="skip"), FAILED)
    assert (move.cause, move.after.state) == (Cause.STEP_SKIPPED, WorkflowState.COMPLETED)


@pytest.mark.parametrize("given_", [{"retry": Retry(attempts=9)}, {"on_error": "skip"}], ids=["retry", "skip"])
def test_a_fenced_body_is_neither_retried_nor_skipped(given_: dict[str, Any]) -> None:
    """It may still be at work."""
    after = decide(situation(**given_), replace(FAILED, alive=True)).after
    assert (after.state, after.owner) == ("error", "host:1")


def test_a_stopped_step_stops_the_workflow() -> None:
    """The step is the current one still."""
    move = decide(situation(halt=Halt.STOP), Outcome(Ending.STOPPED))
    after = move.after
    assert (move.cause, after.state, after.position, after.step_state) == (Cause.STEP_STOPPED, "stopped", 1, "stopped")


@pytest.mark.parametrize(
    ("on_interrupt", "state", "step_state"), [("pause", "error", "interrupted"), ("rerun", "paused", "pending")]
)
def test_a_step_cut_off_by_a_shutdown_goes_on_only_if_declared(on_interrupt: str, state: str, step_state: str) -> None:
    """Nobody knows what it did."""
    move = decide(situation(halt=Halt.SHUTDOWN, on_interrupt=on_interrupt), Outcome(Ending.INTERRUPTED))
    assert (move.after.state, move.after.step_state) == (state, step_state)
    assert move.cause is Cause.STEP_INTERRUPTED
    assert move.after.resumable == (on_interrupt == "rerun")


def test_a_stop_wins_over_a_pause_and_a_pause_over_a_shutdown() -> None:
    """The greater halt is the stronger."""
    assert max(Halt) is Halt.STOP
    assert max(Halt.PAUSE, Halt.SHUTDOWN) is Halt.PAUSE
    assert [halt.state for halt in Halt] == ["running", "paused", "paused", "stopped"]


def test_a_request_that_came_too_late_is_noted() -> None:
    """It was of no effect."""
    move = decide(situation(running(position=3, request="pause"), Halt.PAUSE), Outcome(Ending.COMPLETED))
    assert essence(move.noted) == ("request_lapsed", 3, "pause")
    assert move.after.request is None


def test_policies_default_to_one_attempt_and_a_pause() -> None:
    """A step that says nothing is never repeated."""
    assert Policies() == Policies(timeout=None, retry=NEVER, on_error="pause", on_interrupt="pause")
    assert not Policies().rerun
