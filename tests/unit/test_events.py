"""The lines of a history, as observers get them."""

from dataclasses import replace

import pytest

from awfe.domain import events, moves
from awfe.domain.context import NO_CHANGE, Delta
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
    line = events.of_ended("deploy", end, PAUSED)
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
        (Cause.RUN, 1),
        (Cause.RESET, 1),
        (Cause.RESET_FROM, 2),
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


@pytest.mark.parametrize(
    ("by", "actor", "reason"),
    [(By("ann", "because"), "ann", "because"), (NOBODY, "host:1", None)],
    ids=["ann", "nobody"],
)
def test_a_runner_stands_in_for_who_let_it_run(by: By, actor: str, reason: str | None) -> None:
    """Where nobody gave a name."""
    line = events.of_noted("deploy", Noted(Cause.RUN, NOW, 1, by, detail="host:1"), PAUSED, RUNNING)
    assert (line.actor, line.reason) == (actor, reason)


def test_a_move_tells_first_how_the_attempt_ended() -> None:
    """Then what was noted beside it."""
    head = running(position=3, request="pause")
    move = moves.step_passed(head, ended(head, StepState.COMPLETED, DELTA), PAUSED, 1, resumable=False)
    lines = list(events.of_move(move))
    assert [(line.cause, line.step, line.before, line.after) for line in lines] == [
        (Cause.STEP_COMPLETED, 3, RUNNING, WorkflowState.COMPLETED),
        (Cause.REQUEST_LAPSED, 3, RUNNING, WorkflowState.COMPLETED),
    ]
    assert (lines[0].changes, lines[1].reason) == (CHANGES, "pause")


def test_a_checkpoint_has_its_line() -> None:
    """With the attempt that saved it; the workflow runs on."""
    move = moves.checkpointed(running(position=2, attempt=3), DELTA, NOW)
    line = Event("deploy", NOW, Cause.CHECKPOINT, 2, 3, RUNNING, RUNNING, None, None, CHANGES, None)
    assert list(events.of_move(move)) == [line]


def test_the_begin_of_an_attempt_is_no_line() -> None:
    """Its end will be one."""
    head = running(step_state=StepState.PENDING, attempt_started_at=None, due_at=NOW)
    assert list(events.of_move(moves.begun(head, NOW))) == []
