"""The lines of a history, as observers get them."""

import pytest
from msgspec.structs import replace

from awfe.domain import events
from awfe.domain.delta import NO_CHANGE, Delta
from awfe.domain.moves import NOBODY, By, Noted
from awfe.domain.outcomes import ErrorInfo
from awfe.domain.records import Changes, Event
from awfe.domain.states import OUTCOMES, Cause, StepState, WorkflowState
from tests.unit.heads import NOW, ended, running

DELTA = Delta.of({"a": [1]}, ["b"])
CHANGES = Changes({"a": [1]}, ("b",))
RUNNING, PAUSED = WorkflowState.RUNNING, WorkflowState.PAUSED


@pytest.mark.parametrize("delta", [None, NO_CHANGE])
def test_no_change_is_an_empty_one(delta: Delta | None) -> None:
    """Nobody has to ask for None."""
    assert events.changes_of(delta) == Changes()


def test_a_change_shows_its_values() -> None:
    """Decoded, with the keys that were removed."""
    assert events.changes_of(DELTA) == CHANGES


@pytest.mark.parametrize("outcome", OUTCOMES, ids=str)
def test_every_outcome_of_an_attempt_has_its_line(outcome: StepState) -> None:
    """With the cause of that name, the step, the attempt, the change and the error."""
    error = ErrorInfo("ValueError", "no")
    end = replace(ended(running(position=2, attempt=3), outcome, DELTA), error=error)
    line = events.of_ended("deploy", end, RUNNING, PAUSED)
    cause = Cause(f"step_{outcome.value}")
    assert line == Event("deploy", NOW, cause, 2, 3, RUNNING, PAUSED, None, None, CHANGES, error)


def test_what_somebody_did_has_who_and_why() -> None:
    """With the step it was done to, and the change it made."""
    noted = Noted(Cause.SKIP, NOW, 2, By("ann", "because"), DELTA)
    line = events.of_noted("deploy", noted, WorkflowState.ERROR, PAUSED)
    error = WorkflowState.ERROR
    assert line == Event("deploy", NOW, Cause.SKIP, 2, None, error, PAUSED, "ann", "because", CHANGES, None)


@pytest.mark.parametrize(
    ("cause", "step"),
    [
        (Cause.CREATED, None),
        (Cause.UPDATE_CONTEXT, None),
        (Cause.DELETE, None),
        (Cause.SIGNAL, None),
        (Cause.APPROVE, 1),
        (Cause.RUN, 1),
        (Cause.RESET, 1),
        (Cause.RESET_FROM, 2),
        (Cause.REPLACE_STEPS, 1),
    ],
)
def test_a_line_names_the_step_that_it_is_about(cause: Cause, step: int | None) -> None:
    """A reset from step 2 is kept at position 1, where its change belongs; some lines are about no step."""
    assert events.of_noted("deploy", Noted(cause, NOW, 1), None, None).step == step


@pytest.mark.parametrize(
    ("by", "detail", "reason"),
    [(By(None, "because"), "pause", "because"), (NOBODY, "pause", "pause"), (NOBODY, None, None)],
)
def test_what_awfe_noted_stands_in_for_a_reason(by: By, detail: str | None, reason: str | None) -> None:
    """Where nobody gave one."""
    line = events.of_noted("deploy", Noted(Cause.REQUEST_LAPSED, NOW, 1, by, detail=detail), RUNNING, PAUSED)
    assert (line.reason, line.actor) == (reason, None)


@pytest.mark.parametrize("cause", [Cause.RUN, Cause.ROLLBACK])
def test_a_run_has_only_the_reason_that_was_given(cause: Cause) -> None:
    """Which process it was is for those who look into the table."""
    line = events.of_noted("deploy", Noted(cause, NOW, 1, detail="host:1"), PAUSED, RUNNING)
    assert (line.actor, line.reason) == (None, None)
