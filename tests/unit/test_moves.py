"""Each thing that a runner does with a workflow that runs."""

import pytest
from msgspec.structs import replace

from awfe.domain import claims, moves
from awfe.domain.delta import Delta
from awfe.domain.moves import NOBODY, By, Head
from awfe.domain.states import ALLOWED, VERBS, Answer, Cause, StepState, Verb, WorkflowState, allowed_in
from tests.unit.heads import LATER, NOW, STARTED_AT, claimant, completed, ended, essence, head, resting, running

ANN = By("ann", "because")


def test_a_move_that_is_not_in_the_table_can_not_be_made() -> None:
    """A bug is found before it is written."""
    with pytest.raises(AssertionError, match=r"^run leads from completed to running: not in TRANSITIONS"):
        claims.claimed(completed(position=1), 1, claimant())


def test_a_claim_begins_an_attempt() -> None:
    """With a fresh run, a higher token and the time of the first start."""
    move = claims.claimed(head(), 1, claimant())
    after = move.after
    assert (after.state, after.step_state, after.position, after.attempt) == ("running", "running", 1, 1)
    assert (after.token, after.run_id, after.rev, after.owner) == (1, "r2", 1, "host:2")
    assert after.attempt_started_at == after.started_at == NOW
    assert essence(move.noted) == ("run", 1, "host:2")
    assert move.noted is not None
    assert move.noted.by == ANN


def test_a_later_claim_keeps_the_first_start() -> None:
    """It began when it began; what waited for nobody is over."""
    paused = resting(WorkflowState.PAUSED, StepState.PENDING, resumable=True)
    after = claims.claimed(paused, 5, claimant(LATER)).after
    assert (after.started_at, after.attempt_started_at, after.attempt) == (STARTED_AT, LATER, 5)
    assert (after.resumable, after.token) == (False, paused.token + 1)


def test_a_checkpoint_changes_nothing_but_the_revision() -> None:
    """The step goes on."""
    before = running(request="pause")
    delta = Delta.of({"a": 1})
    move = moves.checkpointed(before, delta, NOW)
    assert move.after == replace(before, rev=before.rev + 1)
    assert essence(move.noted) == ("checkpoint", 1, None)
    assert move.noted is not None
    assert (move.noted.at, move.noted.attempt, move.noted.delta) == (NOW, 1, delta)
    assert move.ended is None


def test_an_attempt_begins_when_it_is_due() -> None:
    """The same run goes on with the next attempt."""
    waiting = running(step_state=StepState.PENDING, attempt_started_at=None, due_at=NOW)
    after = moves.begun(waiting, LATER).after
    assert (after.step_state, after.attempt, after.attempt_started_at, after.due_at) == ("running", 2, LATER, None)
    assert after.owner == "host:1"


@pytest.mark.parametrize(
    ("request_", "state", "resumable", "noted"),
    [
        ("pause", WorkflowState.PAUSED, False, ("halted", 1, None)),
        ("stop", WorkflowState.STOPPED, False, ("halted", 1, None)),
        (None, WorkflowState.PAUSED, True, ("shutdown", 1, None)),
        ("pause", WorkflowState.STOPPED, False, ("request_lapsed", 1, "pause")),
    ],
)
def test_a_delay_can_be_halted(
    request_: str | None,
    state: WorkflowState,
    resumable: bool,  # noqa: FBT001 - a parameter
    noted: tuple[str, int, str | None],
) -> None:
    """The step stays pending, no longer with a time, and a line says why."""
    waiting = running(step_state=StepState.PENDING, attempt_started_at=None, due_at=LATER, request=request_)
    move = moves.halted(waiting, state, NOW, resumable=resumable)
    assert (move.after.state, move.after.step_state, move.after.due_at) == (state, "pending", None)
    assert move.after.resumable == resumable
    assert essence(move.noted) == noted


@pytest.mark.parametrize("alive", [False, True])
def test_a_body_that_lives_keeps_its_owner_and_loses_its_token(alive: bool) -> None:  # noqa: FBT001 - a parameter
    """It can be seen, but can't commit."""
    before = running()
    after = moves.stopped(before, ended(before, StepState.STOPPED), alive=alive).after
    assert after.owner == ("host:1" if alive else None)
    assert after.token == before.token + alive


def test_who_asked_is_bounded_and_storable() -> None:
    """Whatever a caller gives."""
    by = By.of("\ud800" + "x" * 1000, "why\0" * 10_000)
    assert by.actor is not None
    assert by.reason is not None
    assert by.actor.startswith("\\ud800x")
    assert "\0" not in by.reason
    assert By.of(None, None) == NOBODY
    not_a_text: object = 5
    assert By.of(not_a_text, not_a_text) == By("5", "5")  # type: ignore[arg-type]  # a caller may do it


def test_only_a_workflow_with_a_current_step_is_at_one() -> None:
    """A completed one has none."""
    assert running(position=2).at == 2
    with pytest.raises(AssertionError):
        _ = completed().at


def test_run_is_answered_for_every_state_that_can_be_claimed() -> None:
    """A claim is possible exactly where `run` runs."""
    runs = {state for state in allowed_in(Verb.RUN) if VERBS[Verb.RUN][state] is not Answer.RETURNS}
    assert runs == {before for cause, before, _ in ALLOWED if cause is Cause.RUN}


def test_a_head_is_a_value() -> None:
    """Two that say the same are equal."""
    assert head() == head()
    assert isinstance(head(), Head)
