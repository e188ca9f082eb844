"""The log adds up: to the context at any step, to the attempts, to the budget of retries."""

import pytest
from hypothesis import given
from msgspec.structs import replace

from awfe.domain.delta import NO_CHANGE, Delta
from awfe.domain.log import Entry, Progress, entries, replay
from awfe.domain.moves import By, Ended, Move, Noted
from awfe.domain.states import Cause, StepState, WorkflowState
from tests.unit.heads import LATER, NOW, head
from tests.unit.logs import STEPS, decoded, deltas, lived, lives
from tests.unit.strategies import same


@given(deltas, lives)
def test_the_context_is_what_counts_of_the_log(first: Delta, life: list[tuple[str, Delta, int]]) -> None:
    """Order of the keys included."""
    model = lived(first, life)
    assert same(decoded(replay(model.log).context()), decoded(model.values))


@given(deltas, lives)
def test_the_context_before_any_step_can_be_restored(first: Delta, life: list[tuple[str, Delta, int]]) -> None:
    """By a reset from that step, whatever has happened since it first began."""
    model = lived(first, life)
    for step, values in model.before.items():
        if step > model.position:
            # In a rollback: what is above has been undone, and can only be reset with what is below.
            continue
        reset = Entry(model.rev + 1, Cause.RESET_FROM, step - 1, 0, Delta())
        assert same(decoded(replay([*model.log, reset]).context()), decoded(values))


@given(deltas, lives)
def test_attempts_count_up_for_ever(first: Delta, life: list[tuple[str, Delta, int]]) -> None:
    """A reset does not begin anew: an attempt is never overwritten."""
    model = lived(first, life)
    progress = replay(model.log)
    assert progress.attempts == model.attempts
    for step in range(1, STEPS + 1):
        assert progress.next_attempt(step) == model.attempts.get(step, 0) + 1


@given(deltas, lives)
def test_the_state_of_every_step_is_in_the_log(first: Delta, life: list[tuple[str, Delta, int]]) -> None:
    """With how far it got, and the line of each step's idempotency key."""
    model = lived(first, life)
    progress = replay(model.log)
    assert progress.ended == model.states
    assert progress.reached == model.reached
    assert {step: progress.line(step) for step in model.lines} == model.lines


@given(deltas, lives)
def test_failures_and_interrupts_are_those_of_the_current_step(
    first: Delta, life: list[tuple[str, Delta, int]]
) -> None:
    """Since it began, or since an operator's verb; of the interrupts only crashes count, and only in a row."""
    model = lived(first, life)
    if model.position not in model.states:
        return
    progress = replay(model.log)
    assert (progress.failures, progress.interrupts) == (model.failures, model.interrupts)


def log_of(*lines: tuple[Cause, int, int]) -> Progress:
    """Return what lines of cause, position and attempt add up to; each has a revision of its own."""
    return replay(Entry(rev, cause, position, attempt, None) for rev, (cause, position, attempt) in enumerate(lines))


def test_an_empty_log_adds_up_to_nothing() -> None:
    """A workflow that has just been created, without a context."""
    progress = replay([])
    assert (progress.context(), progress.attempts, progress.ended, progress.reached) == ({}, {}, {}, 0)
    assert (progress.next_attempt(1), progress.line(1), progress.failures, progress.interrupts) == (1, 0, 0, 0)


def test_a_retry_budget_survives_a_crash() -> None:
    """A runner that is gone is no reason for more attempts."""
    interrupted = Entry(2, Cause.STEP_INTERRUPTED, 1, 2, None)
    taken_over = Entry(2, Cause.TAKEOVER, 1, 0, None)
    progress = replay([Entry(1, Cause.STEP_ERROR, 1, 1, None), interrupted, taken_over])
    assert (progress.failures, progress.interrupts) == (1, 1)


def test_a_takeover_during_a_delay_is_no_interrupt() -> None:
    """No attempt was running."""
    progress = log_of((Cause.STEP_INTERRUPTED, 1, 1), (Cause.TAKEOVER, 1, 0))
    assert progress.interrupts == 0


@pytest.mark.parametrize(
    "cause",
    [
        *(Cause.RESET, Cause.RESET_FROM, Cause.SKIP, Cause.UPDATE_CONTEXT, Cause.REPLACE_STEPS),
        *(Cause.PAUSE, Cause.ROLLBACK),
    ],
    ids=str,
)
def test_a_retry_budget_starts_anew_after_an_operators_verb(cause: Cause) -> None:
    """Somebody has looked at it."""
    assert log_of((Cause.STEP_ERROR, 1, 1), (cause, 1, 0)).failures == 0


def test_a_retry_budget_starts_anew_after_a_stop() -> None:
    """`run` goes on with a stopped step that is declared `rerun`."""
    assert log_of((Cause.STEP_ERROR, 1, 1), (Cause.STOP, 1, 0), (Cause.STEP_STOPPED, 1, 2)).failures == 0


def test_a_step_that_waits_has_not_ended() -> None:
    """Its attempt is open: the number is its own, and no state but the row's says where it is."""
    progress = log_of((Cause.STEP_COMPLETED, 1, 1), (Cause.STEP_WAITING, 2, 1), (Cause.STEP_WAITING, 2, 1))
    assert (progress.attempts, progress.ended, progress.reached) == ({1: 1}, {1: StepState.COMPLETED}, 2)


def test_what_is_edited_while_a_step_waits_is_dropped_by_a_reset_from_it() -> None:
    """It came after the step had begun."""
    waits = Entry(1, Cause.STEP_WAITING, 1, 1, Delta.of({"a": 1}))
    edits = Entry(2, Cause.UPDATE_CONTEXT, replay([waits]).reached, 0, Delta.of({"b": 1}))
    assert list(replay([waits, edits]).context()) == ["a", "b"]
    assert replay([waits, edits, Entry(3, Cause.RESET_FROM, 0, 0, None)]).context() == {}


def test_an_undo_that_fails_leaves_its_step_done() -> None:
    """Until it is undone; a reset from a step is the way forward again."""
    done = [(Cause.STEP_COMPLETED, 1, 1), (Cause.STEP_COMPLETED, 2, 1), (Cause.ROLLBACK, 2, 0)]
    failed = log_of(*done, (Cause.STEP_ERROR, 2, 2))
    assert (failed.ended, failed.attempts, failed.failures) == ({1: "completed", 2: "completed"}, {1: 1, 2: 2}, 1)
    undone = log_of(*done, (Cause.STEP_ERROR, 2, 2), (Cause.STEP_UNDONE, 2, 3))
    assert (undone.ended[2], undone.failures, undone.undoing) == (StepState.UNDONE, 0, True)
    again = log_of(*done, (Cause.STEP_UNDONE, 2, 2), (Cause.RESET_FROM, 0, 0), (Cause.STEP_ERROR, 1, 2))
    assert (again.ended, again.undoing) == ({1: StepState.ERROR}, False)


@pytest.mark.parametrize("outcome", [Cause.STEP_COMPLETED, Cause.STEP_SKIPPED, Cause.STEP_UNDONE], ids=str)
def test_the_failures_of_a_passed_step_are_not_those_of_the_next(outcome: Cause) -> None:
    """A run that a shutdown paused between two steps goes on with a whole budget."""
    assert log_of((Cause.STEP_ERROR, 1, 1), (outcome, 1, 2), (Cause.SHUTDOWN, 1, 0)).failures == 0


def test_a_step_cut_off_by_a_shutdown_is_interrupted_but_no_crash() -> None:
    """A deploy may happen any number of times."""
    progress = log_of(*[(Cause.STEP_INTERRUPTED, 1, number) for number in range(1, 9)])
    assert (progress.interrupts, progress.ended[1]) == (0, StepState.INTERRUPTED)


def test_a_move_adds_the_attempt_that_it_ends_and_the_line_that_it_notes() -> None:
    running = head(WorkflowState.RUNNING)
    ended, noted = Ended(1, 1, StepState.COMPLETED, NOW, LATER), Noted(Cause.HALTED, LATER, 1, By(None))
    completed = Move(Cause.STEP_COMPLETED, running, replace(running, rev=1), ended=ended)
    assert entries(completed) == [Entry(1, Cause.STEP_COMPLETED, 1, 1, NO_CHANGE)]
    both = Move(Cause.STEP_COMPLETED, running, replace(running, rev=1), ended=ended, noted=noted)
    assert entries(both) == [*entries(completed), Entry(1, Cause.HALTED, 1, 0, NO_CHANGE)]
