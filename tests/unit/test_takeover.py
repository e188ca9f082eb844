"""What others make of a workflow whose runner is gone, frozen or fenced."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from awfe.domain import claims, takeover
from awfe.domain.moves import By, Head
from awfe.domain.records import RequestName
from awfe.domain.states import Cause, StepState
from tests.unit.heads import LATER, NOW, STARTED_AT, assert_storable, claimant, essence, head, rolling_back, running
from tests.unit.situations import heads, waiting_heads

ANN = By("ann", "because")


@pytest.mark.parametrize(
    ("rerun", "request_", "state", "step_state"),
    [
        (False, None, "error", "interrupted"),
        (False, "pause", "error", "interrupted"),
        (False, "stop", "error", "interrupted"),
        (True, None, "paused", "pending"),
        (True, "pause", "paused", "pending"),
        (True, "stop", "stopped", "interrupted"),
    ],
)
def test_a_step_whose_runner_is_gone_is_rerun_only_if_declared(
    rerun: bool,  # noqa: FBT001 - a parameter
    request_: str | None,
    state: str,
    step_state: str,
) -> None:
    """The attempt ends as interrupted; what was asked of the run is honoured."""
    before = running(request=request_)
    move = takeover.taken_over(before, NOW, ANN, rerun=rerun)
    after = move.after
    assert (move.cause, after.state, after.step_state) == (Cause.STEP_INTERRUPTED, state, step_state)
    assert move.ended is not None
    assert (move.ended.outcome, move.ended.attempt, move.ended.ended_at) == (StepState.INTERRUPTED, 1, NOW)
    assert (after.token, after.owner, after.request) == (before.token + 1, None, None)
    assert essence(move.noted) == ("takeover", 1, "host:1")
    assert after.resumable == (rerun and request_ is None)


@pytest.mark.parametrize(("request_", "state"), [(None, "paused"), ("pause", "paused"), ("stop", "stopped")])
def test_a_runner_that_is_gone_during_a_delay_left_nothing_unknown(request_: str | None, state: str) -> None:
    """No attempt was running, so none is interrupted."""
    waiting = running(step_state=StepState.PENDING, attempt_started_at=None, due_at=LATER, request=request_)
    move = takeover.taken_over(waiting, NOW, ANN, rerun=False)
    assert (move.cause, move.after.state, move.after.step_state) == (Cause.TAKEOVER, state, "pending")
    assert (move.ended, move.after.due_at) == (None, None)
    assert move.after.resumable == (request_ is None)


@pytest.mark.parametrize(("request_", "state"), [(None, "waiting"), ("pause", "paused")])
@given(before=waiting_heads().filter(lambda head: head.waits))
def test_a_step_waits_on_whose_runner_is_gone(request_: RequestName | None, state: str, before: Head) -> None:
    """The runner only looked whether the wait was over: nothing is unknown, and any engine goes on."""
    looks = replace(claims.claimed_waiting(before, claimant()).after, request=request_)
    move = takeover.taken_over(looks, LATER, ANN, rerun=False)
    after = move.after
    assert (move.cause, move.ended, after.state) == (Cause.TAKEOVER, None, state)
    assert (after.wait, after.due_at, after.attempt) == (before.wait, before.due_at, before.attempt)
    assert (after.attempt_started_at, after.step_state) == (STARTED_AT, "waiting")
    assert (after.owner, after.waiter, after.resumable) == (None, None, False)
    assert essence(move.noted) == ("takeover", before.at, "host:2")
    assert_storable(after)


@given(waiting_heads().filter(lambda head: head.waits))
def test_a_step_that_waits_is_stopped_when_that_was_asked_of_its_runner(before: Head) -> None:
    """As it would have been at once, had nobody looked at it."""
    looks = replace(claims.claimed_waiting(before, claimant()).after, request="stop", stop_grace=1.0)
    for move in (takeover.taken_over(looks, LATER, ANN, rerun=True), takeover.fenced(looks, LATER, ANN)):
        assert (move.cause, move.after.state, move.after.step_state) == (Cause.STEP_STOPPED, "stopped", "stopped")
        assert (move.after.wait, move.after.due_at, move.after.token) == (None, None, looks.token + 1)
        assert move.ended is not None
        assert (move.ended.started_at, move.ended.ended_at, move.ended.attempt) == (STARTED_AT, LATER, before.attempt)
        assert_storable(move.after)


@pytest.mark.parametrize("between", [False, True])
@pytest.mark.parametrize("request_", [None, "pause", "stop"])
@pytest.mark.parametrize("rerun", [False, True])
def test_an_undo_whose_runner_is_gone_is_an_error(
    rerun: bool,  # noqa: FBT001 - a parameter
    request_: str | None,
    between: bool,  # noqa: FBT001 - a parameter
) -> None:
    """Whatever was declared for the step's work, and whatever was asked; a rollback goes on from there."""
    known = {"step_state": StepState.PENDING, "attempt_started_at": None, "due_at": LATER} if between else {}
    before = rolling_back(request=request_, **known)
    move = takeover.taken_over(before, NOW, ANN, rerun=rerun)
    after = move.after
    assert move.cause is (Cause.TAKEOVER if between else Cause.STEP_INTERRUPTED)
    assert (after.state, after.step_state, after.position, after.undoing) == ("error", "interrupted", 2, True)
    assert (after.token, after.owner, after.request, after.due_at) == (before.token + 1, None, None, None)
    assert (move.ended is None) == between
    assert essence(move.noted) == ("takeover", 2, "host:1")
    assert_storable(after)


@given(heads(), st.booleans(), st.booleans())
def test_whoever_takes_over_leaves_what_the_schema_can_hold(
    before: Head,
    rerun: bool,  # noqa: FBT001 - hypothesis gives it
    fence: bool,  # noqa: FBT001 - hypothesis gives it
) -> None:
    """The attempt that ran is kept as it was cut off, and nothing of it can be saved any more."""
    move = takeover.fenced(before, LATER, ANN) if fence else takeover.taken_over(before, LATER, ANN, rerun=rerun)
    assert_storable(move.after)
    assert (move.after.token, move.after.rev) == (before.token + 1, before.rev + 1)
    assert move.after.undoing == before.undoing
    assert move.ended is not None
    assert (move.ended.attempt, move.ended.started_at, move.ended.ended_at) == (before.attempt, STARTED_AT, LATER)
    if fence:
        ended = takeover.body_ended(move.after, LATER)
        assert (ended.after.state, ended.after.step_state) == (move.after.state, "stopped")
        assert_storable(ended.after)


@pytest.mark.parametrize("between", [False, True])
def test_a_fenced_run_is_stopped_and_keeps_its_owner(between: bool) -> None:  # noqa: FBT001 - pytest gives it
    """Nobody knows whether its body goes on; the token sees to it that nothing of it is saved."""
    began = claims.claimed(head(), 1, claimant()).after
    asked = replace(began, request="stop", attempt_started_at=None if between else NOW)
    move = takeover.fenced(asked, LATER, ANN)
    assert (move.after.state, move.after.owner, move.after.token) == ("stopped", "host:2", asked.token + 1)
    assert (move.ended is None) is between
    assert takeover.body_ended(move.after, LATER).after.owner is None
