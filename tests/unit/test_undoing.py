"""The way back: which undo is next, and the moves that lead there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awfe.domain import undoing
from awfe.domain.decide import Halt, Situation, decide
from awfe.domain.delta import Delta
from awfe.domain.log import Progress
from awfe.domain.moves import By, Head
from awfe.domain.outcomes import Ending, Outcome
from awfe.domain.retry import Retry
from awfe.domain.states import OUTCOMES, Cause, StepState, WorkflowState
from awfe.domain.step import Policies
from awfe.domain.undoing import Way
from awfe.domain.waits import Wait
from tests.unit.heads import (
    LATER,
    NOW,
    STARTED_AT,
    assert_storable,
    claimant,
    completed,
    ended,
    essence,
    resting,
    rolling_back,
    waiting,
)
from tests.unit.situations import BETWEEN, FAILED, heads, situation, waits

ANN = By("ann", "because")
DELTA = Delta.of({"a": 1})
STEPS = range(1, 7)
sets = st.sets(st.sampled_from(STEPS))
states = st.dictionaries(st.sampled_from(STEPS), st.sampled_from(OUTCOMES))
FAILURES = (StepState.ERROR, StepState.STOPPED, StepState.INTERRUPTED)


def after_all(count: int) -> Head:
    """Return the head of a completed workflow of so many steps."""
    return completed(step_count=count)


@given(sets, states)
def test_the_way_back_leads_through_what_is_done_and_can_be_undone(
    undoable: set[int], states: dict[int, StepState]
) -> None:
    """From the last down, each once; skipped ones, failed ones and those without an `undo` are passed over."""
    way = Way(undoable, Progress(ended=states))
    walked: list[int] = []
    at = way.first(after_all(6), current=False, skip=False, undoable=undoable)
    while at is not None:
        walked.append(at)
        at = way.below(at)
    done = {position for position, state in states.items() if state is StepState.COMPLETED}
    assert walked == sorted(done & undoable, reverse=True)


@given(sets, states, st.sampled_from(STEPS), st.booleans())
def test_a_rollback_goes_on_where_it_was(
    undoable: set[int],
    states: dict[int, StepState],
    position: int,
    skip: bool,  # noqa: FBT001 - hypothesis gives it
) -> None:
    """At the undo that was halted or has failed, or after it with `skip_undo` or where it is gone from the program."""
    way = Way(undoable, Progress(ended=states))
    failed = resting(WorkflowState.ERROR, StepState.ERROR, position=position, undoing=True, step_count=6)
    for current in (False, True):
        first = way.first(failed, current=current, skip=skip, undoable=undoable)
        assert first == (way.below(position) if skip or position not in undoable else position)


@pytest.mark.parametrize("step_state", [*FAILURES, StepState.PENDING, StepState.WAITING], ids=str)
@pytest.mark.parametrize("can_undo", [False, True])
@pytest.mark.parametrize("current", [False, True])
def test_the_step_that_failed_is_undone_only_where_that_was_asked_for(
    step_state: StepState,
    current: bool,  # noqa: FBT001 - a parameter
    can_undo: bool,  # noqa: FBT001 - a parameter
) -> None:
    """And only where it has begun, and has an `undo`."""
    undoable = {1, 2} if can_undo else {1}
    way = Way(undoable, Progress(ended={1: StepState.COMPLETED, 2: step_state}))
    halted = resting(WorkflowState.PAUSED, step_state)
    first = way.first(halted, current=current, skip=False, undoable=undoable)
    begun = step_state is not StepState.PENDING
    assert first == (2 if current and can_undo and begun else 1)


@given(st.sampled_from(STEPS), st.integers(1, 9))
def test_a_rollback_begins_with_an_undo(way: int, attempt: int) -> None:
    """It is an attempt of its step, in a run of its own."""
    before = after_all(6)
    move = undoing.claimed(before, way, attempt, claimant())
    after = move.after
    assert (move.cause, after.state, after.step_state) == (Cause.ROLLBACK, "rolling_back", "running")
    assert (after.position, after.attempt, after.attempt_started_at, after.undoing) == (way, attempt, NOW, True)
    assert (after.owner, after.run_id, after.stop_grace, after.ended_at) == ("host:2", "r2", 7.5, None)
    assert (after.token, after.rev) == (before.token + 1, before.rev + 1)
    assert (essence(move.noted), move.ended) == (("rollback", way, "host:2"), None)
    assert move.noted is not None
    assert move.noted.by == ANN
    assert_storable(after)


@pytest.mark.parametrize("state", [WorkflowState.PAUSED, WorkflowState.STOPPED, WorkflowState.ERROR], ids=str)
def test_where_nothing_is_left_to_undo_all_is_rolled_back_at_once(state: WorkflowState) -> None:
    """Nothing runs, and no later run is taken for this one."""
    before = resting(state, StepState.PENDING)
    move = undoing.claimed(before, None, 1, claimant())
    after = move.after
    assert (move.cause, after.state, after.position, after.step_state) == (Cause.ROLLBACK, "rolled_back", None, None)
    assert (after.ended_at, after.owner, after.token) == (NOW, None, before.token + 1)
    assert essence(move.noted) == ("rollback", 0, "host:2")
    assert_storable(after)


@given(waits, st.none() | st.just(1))
def test_an_attempt_that_waits_ends_where_a_rollback_begins(wait: Wait, way: int | None) -> None:
    """Paused in the middle of it; it is kept as stopped."""
    paused = waiting(wait, WorkflowState.PAUSED, position=2, attempt=4)
    move = undoing.claimed(paused, way, 1, claimant())
    assert (move.after.wait, move.after.due_at) == (None, None)
    assert move.ended is not None
    assert (move.ended.position, move.ended.attempt, move.ended.outcome) == (2, 4, StepState.STOPPED)
    assert (move.ended.started_at, move.ended.ended_at) == (STARTED_AT, NOW)
    assert_storable(move.after)


@given(heads(back=True), st.integers(1, 5), st.sampled_from(Halt), st.booleans())
def test_what_is_undone_leads_to_the_next_undo(
    before: Head,
    attempt: int,
    halt: Halt,
    last: bool,  # noqa: FBT001 - hypothesis gives it
) -> None:
    """Or halts before it; the last one ends the workflow, whatever is asked."""
    way = None if last or before.at == 1 else before.at - 1
    move = decide(Situation(before, Policies(), 0, attempt, halt, LATER, way), Outcome(Ending.COMPLETED, DELTA))
    after = move.after
    assert move.cause is Cause.STEP_UNDONE
    assert move.ended is not None
    assert (move.ended.outcome, move.ended.delta, move.ended.position) == (StepState.UNDONE, DELTA, before.at)
    assert_storable(after)
    assert after.undoing
    if way is None:
        assert (after.state, after.position, after.ended_at) == ("rolled_back", None, LATER)
    elif halt is Halt.NONE:
        assert (after.state, after.position, after.attempt) == ("rolling_back", way, attempt)
        assert (after.step_state, after.attempt_started_at, after.token) == ("running", LATER, before.token)
    else:
        assert (after.state, after.step_state) == (halt.state, "pending")
        assert (after.position, after.attempt) == (way, attempt - 1)
        assert after.resumable == (halt is Halt.SHUTDOWN)


@pytest.mark.parametrize("on_error", ["pause", "skip"])
def test_an_undo_that_fails_is_an_error(on_error: str) -> None:
    """It is never passed over but by an operator."""
    move = decide(situation(rolling_back(), on_error=on_error), FAILED)
    after = move.after
    assert (move.cause, after.state, after.step_state) == (Cause.STEP_ERROR, "error", "error")
    assert (after.position, after.undoing) == (2, True)


@pytest.mark.parametrize("wait", [0, 3600])
def test_an_undo_is_retried_in_its_run(wait: float) -> None:
    """Also after a long delay."""
    after = decide(situation(rolling_back(), retry=Retry(attempts=2, wait=wait)), FAILED).after
    assert (after.state, after.owner, after.undoing) == ("rolling_back", "host:1", True)
    assert (after.step_state, after.attempt) == (("pending", 2) if wait else ("running", 3))


@pytest.mark.parametrize(("halt", "state"), BETWEEN)
def test_a_rollback_halts_between_two_tries(halt: Halt, state: str) -> None:
    """And goes on with the same undo."""
    after = decide(situation(rolling_back(), halt, retry=Retry(attempts=2)), FAILED).after
    assert (after.state, after.step_state, after.position, after.undoing) == (state, "pending", 2, True)


@pytest.mark.parametrize("rerun", [False, True])
def test_an_undo_that_a_closing_engine_cut_off_is_an_error(rerun: bool) -> None:  # noqa: FBT001 - a parameter
    """What was declared is about the step's work."""
    policy = "rerun" if rerun else "pause"
    interrupted = Outcome(Ending.INTERRUPTED)
    after = decide(situation(rolling_back(), Halt.SHUTDOWN, on_interrupt=policy), interrupted).after
    assert (after.state, after.step_state, after.resumable) == ("error", "interrupted", False)


@pytest.mark.parametrize("halt", [Halt.PAUSE, Halt.SHUTDOWN])
def test_an_undo_whose_code_had_not_begun_is_as_if_it_had_not(halt: Halt) -> None:
    """Only an operator's pause needs an operator to go on."""
    after = decide(situation(rolling_back(), halt), Outcome(Ending.INTERRUPTED, begun=False)).after
    assert (after.state, after.step_state, after.position, after.undoing) == ("paused", "pending", 2, True)
    assert after.resumable == (halt is Halt.SHUTDOWN)
    assert_storable(after)


def test_an_undo_that_is_stopped_stops_the_rollback() -> None:
    """It goes on with the same undo, or after it with `skip_undo`."""
    before = rolling_back()
    after = decide(situation(before, Halt.STOP), Outcome(Ending.STOPPED)).after
    assert (after.state, after.step_state, after.position, after.undoing) == ("stopped", "stopped", 2, True)


def test_only_an_undo_can_be_undone() -> None:
    """A bug is found before it is written."""
    before = resting(WorkflowState.PAUSED, StepState.PENDING)
    with pytest.raises(AssertionError, match="not in TRANSITIONS"):
        undoing.undone(before, ended(before, StepState.UNDONE), WorkflowState.PAUSED, 1, 1, resumable=False)
