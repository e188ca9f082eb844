"""The operator's verbs, cell by cell of the contract's table."""

from contextlib import suppress
from typing import Any

import pytest
from msgspec.structs import replace

from awfe.domain import verbs
from awfe.domain.delta import NO_CHANGE, Delta
from awfe.domain.log import Progress
from awfe.domain.moves import By
from awfe.domain.states import WHILE_UNDOING, Answer, Cause, StepState, Verb, WorkflowState, allowed_in
from awfe.domain.values import decode
from awfe.domain.waits import Wait
from awfe.errors import ErrorState, InvalidInput, InvalidState, WorkflowError, WorkflowLocked
from tests.unit.heads import (
    NOW,
    STARTED_AT,
    assert_storable,
    completed,
    essence,
    head,
    resting,
    rolling_back,
    running,
    waiting,
)

ANN = By("ann", "because")
HEADS = {
    "pending": head(),
    "running": running(),
    "waiting": waiting(Wait("due")),
    "paused": resting(WorkflowState.PAUSED, StepState.PENDING),
    "stopped": resting(WorkflowState.STOPPED, StepState.STOPPED),
    "error": resting(WorkflowState.ERROR, StepState.ERROR),
    "completed": completed(),
    "rolling_back": rolling_back(),
    "rolled_back": replace(completed(), state=WorkflowState.ROLLED_BACK, undoing=True),
}
HINTS = {
    "error": "mend the cause, then restart, reset or skip its step",
    "rolled_back": "restart or reset it from a step",
}
# As the contract draws it.
TABLE = """
verb             pending  running  waiting  paused   stopped  error    completed  rolling_back  rolled_back
run              RUNS     locked   WAITS    RUNS     RERUN    error    RETURNS    locked        error
pause            invalid  ASKS     HALTS    RETURNS  invalid  invalid  invalid    ASKS          invalid
stop             invalid  ASKS     HALTS    invalid  RETURNS  invalid  invalid    ASKS          invalid
reset            invalid  locked   invalid  invalid  CHANGES  CHANGES  invalid    locked        invalid
reset_from_step  invalid  locked   invalid  CHANGES  CHANGES  CHANGES  CHANGES    locked        invalid
skip             CHANGES  locked   invalid  CHANGES  CHANGES  CHANGES  invalid    locked        invalid
update_context   CHANGES  locked   invalid  CHANGES  CHANGES  CHANGES  invalid    locked        invalid
replace_steps    CHANGES  locked   invalid  CHANGES  CHANGES  CHANGES  invalid    locked        invalid
rollback         invalid  locked   invalid  BACK     BACK     BACK     BACK       locked        invalid
signal           STORED   GIVEN    GIVEN    STORED   STORED   STORED   invalid    GIVEN         invalid
delete           CHANGES  locked   invalid  CHANGES  CHANGES  CHANGES  CHANGES    locked        CHANGES
"""
ANSWERS = {
    "RUNS": Answer.RUNS,
    "RERUN": Answer.RUNS_IF_RERUN,
    "RETURNS": Answer.RETURNS,
    "WAITS": Answer.ATTACHES,
    "HALTS": Answer.HALTS,
    "BACK": Answer.ROLLS_BACK,
    "STORED": Answer.STORED,
    "GIVEN": Answer.DELIVERED,
    "ASKS": Answer.REQUESTED,
    "CHANGES": Answer.CHANGED,
}
REFUSALS: dict[str, type[WorkflowError]] = {"locked": WorkflowLocked, "invalid": InvalidState, "error": ErrorState}
HALFWAY = ["paused", "stopped", "error"]
FIRST, *ROWS = [line.split() for line in TABLE.strip().splitlines()]
CELLS = [
    pytest.param(Verb[row[0].replace("_from_step", "_from").upper()], state, cell, id=f"{row[0]}-{state}")
    for row in ROWS
    for state, cell in zip(FIRST[1:], row[1:], strict=True)
]


def values_of(delta: Delta) -> dict[str, Any]:
    """Return what a change sets."""
    return {key: decode(bytes(raw)) for key, raw in delta.set.items()}


@pytest.mark.parametrize(("verb", "state", "cell"), CELLS)
def test_the_table_of_the_contract(verb: Verb, state: str, cell: str) -> None:
    """Each cell: what a verb does, or the error with which it is refused."""
    if cell in ANSWERS:
        assert verbs.check(HEADS[state], verb) is ANSWERS[cell]
        return
    with pytest.raises(WorkflowError) as caught:
        verbs.check(HEADS[state], verb)
    assert type(caught.value) is REFUSALS[cell]
    assert caught.value.workflow == "deploy"


@pytest.mark.parametrize(("verb", "state", "cell"), [cell for cell in CELLS if cell.values[2] in ("invalid", "error")])
def test_a_refusal_names_the_state_the_verb_and_where_it_is_allowed(verb: Verb, state: str, cell: str) -> None:
    """So that a person knows what to do."""
    with pytest.raises(InvalidState) as caught:
        verbs.check(HEADS[state], verb)
    message = str(caught.value)
    assert message.startswith(f"'deploy' is in state {state}: {verb} is allowed in {', '.join(allowed_in(verb))}")
    assert message.partition("; ")[2] == (HINTS[state] if cell == "error" else "")


@pytest.mark.parametrize("state", HALFWAY)
@pytest.mark.parametrize("verb", Verb)
def test_in_the_middle_of_a_rollback_forward_is_not_the_way(verb: Verb, state: str) -> None:
    """Only `rollback` goes on; a reset from a step begins anew, and all else is as it is at rest."""
    halfway = replace(HEADS[state], undoing=True)
    if verb in WHILE_UNDOING:
        with suppress(InvalidState):
            assert verbs.check(halfway, verb) is verbs.check(HEADS[state], verb)
        return
    with pytest.raises(InvalidState) as caught:
        verbs.check(halfway, verb)
    assert isinstance(caught.value, ErrorState) is (verb is Verb.RUN)
    assert str(caught.value) == (
        f"'deploy' is in state {state}, in the middle of a rollback: {verb} is not allowed there; "
        "what is: rollback, reset from_step, signal, delete"
    )


@pytest.mark.parametrize("verb", [verb for verb in Verb if verb not in (Verb.PAUSE, Verb.STOP, Verb.SIGNAL)])
def test_a_workflow_is_locked_while_a_fenced_body_lives(verb: Verb) -> None:
    """The message says where."""
    alive = resting(WorkflowState.STOPPED, StepState.STOPPED, owner="host:9")
    with pytest.raises(WorkflowLocked) as raised:
        verbs.check(alive, verb)
    told = "'deploy' is stopped, but its last step is still alive in host:9"
    assert str(raised.value).startswith(f"{told}: {verb} is allowed in {', '.join(allowed_in(verb))}; ")


def test_a_workflow_that_runs_says_where() -> None:
    """And what to do about it."""
    told = "'deploy' is running in host:1: reset is allowed in stopped, error; wait for it, or pause or stop it first"
    assert str(verbs.locked(running(), Verb.RESET)) == told
    about = str(verbs.locked(head(), Verb.RESET))
    assert about.startswith("'deploy' runs elsewhere, or is about to: reset is allowed in stopped, error; wait for it")
    told = "'deploy' is rolling_back in host:1: run is not allowed in the middle of a rollback; wait for it"
    assert str(verbs.locked(rolling_back(), Verb.RUN)) == told


@pytest.mark.parametrize(
    ("step_state", "runs"), [("stopped", True), ("interrupted", True), ("pending", False)], ids=str
)
def test_only_a_step_that_was_cut_off_can_be_rerun_by_run(step_state: str, runs: bool) -> None:  # noqa: FBT001 - a parameter
    """A stop between two steps is ended by an operator."""
    stopped = resting(WorkflowState.STOPPED, StepState(step_state))
    if runs:
        assert verbs.check(stopped, Verb.RUN) is Answer.RUNS_IF_RERUN
    else:
        with pytest.raises(ErrorState, match="; no step was cut off: restart, reset or skip it"):
            verbs.check(stopped, Verb.RUN)


def test_reset_makes_the_step_pending() -> None:
    """What its attempt changed and what the operator gives become one change, at the step."""
    failed = resting(WorkflowState.ERROR, StepState.ERROR)
    kept, delta = Delta.of({"a": 1, "b": 1}), Delta.of({"b": 2})
    move = verbs.reset(failed, Progress(reached=2), ANN, NOW, kept=kept, delta=delta)
    after = move.after
    assert (after.state, after.position, after.step_state, after.attempt) == ("paused", 2, "pending", 1)
    assert (after.rev, after.token) == (failed.rev + 1, failed.token + 1)
    assert move.noted is not None
    assert essence(move.noted) == ("reset", 2, None)
    assert (values_of(move.noted.delta), move.noted.by) == ({"a": 1, "b": 2}, ANN)
    assert_storable(after)


def test_what_an_operator_gives_before_a_step_has_begun_is_not_of_that_step() -> None:
    """Stopped between two steps: the change stays when the second is reset later."""
    between = resting(WorkflowState.STOPPED, StepState.PENDING, attempt=0)
    move = verbs.reset(between, Progress(reached=1), ANN, NOW, kept=NO_CHANGE, delta=Delta.of({"a": 1}))
    assert move.noted is not None
    assert move.noted.position == 1


def test_a_reset_from_a_step_ends_a_rollback() -> None:
    """What was undone is above it, and is done again."""
    failed = resting(WorkflowState.ERROR, StepState.ERROR, undoing=True)
    after = verbs.reset_from(failed, Progress(attempts={2: 3}), ANN, NOW, first=2, delta=NO_CHANGE).after
    assert (after.state, after.position, after.attempt, after.undoing) == ("paused", 2, 3, False)
    with pytest.raises(InvalidState, match="would pass over steps"):
        verbs.reset_from(failed, Progress(), ANN, NOW, first=3, delta=NO_CHANGE)
    assert_storable(after)


@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize("verb", ["reset_from", "skip"])
def test_an_attempt_that_waits_ends_where_an_operator_goes_another_way(verb: str, first: int) -> None:
    """Paused in the middle of it; it is kept as stopped, and its number is not used again."""
    before = waiting(Wait("due"), WorkflowState.PAUSED, position=2, attempt=4)
    progress = Progress(attempts={1: 1, 2: 3}, reached=2)
    if verb == "skip":
        move = verbs.skip(before, progress, ANN, NOW, delta=NO_CHANGE)
    else:
        move = verbs.reset_from(before, progress, ANN, NOW, first=first, delta=NO_CHANGE)
        assert move.after.attempt == {1: 1, 2: 4}[first]
    assert (move.after.wait, move.after.due_at, move.after.attempt_started_at) == (None, None, None)
    assert move.ended is not None
    assert (move.ended.position, move.ended.attempt, move.ended.outcome) == (2, 4, StepState.STOPPED)
    assert (move.ended.started_at, move.ended.ended_at) == (STARTED_AT, NOW)
    assert_storable(move.after)


def test_what_waits_can_be_edited_while_it_is_paused() -> None:
    """It waits on."""
    before = waiting(Wait("signal", "go"), WorkflowState.PAUSED)
    move = verbs.update_context(before, Progress(reached=1), ANN, NOW, delta=Delta.of({"a": 1}))
    assert move.after == replace(before, rev=before.rev + 1, token=before.token + 1)
    assert move.ended is None


@pytest.mark.parametrize("before", ["paused", "stopped", "error", "completed"])
def test_reset_from_a_step_leads_back_to_it(before: str) -> None:
    """With the next attempt that counts on from its earlier ones; the change comes before the step."""
    progress = Progress(attempts={1: 4, 2: 1}, reached=2)
    move = verbs.reset_from(HEADS[before], progress, ANN, NOW, first=1, delta=Delta.of({"a": 1}))
    after = move.after
    assert (after.state, after.position, after.step_state, after.attempt) == ("paused", 1, "pending", 4)
    assert (after.ended_at, after.started_at, after.token) == (None, STARTED_AT, HEADS[before].token + 1)
    assert essence(move.noted) == ("reset_from", 0, None)
    assert move.noted is not None
    assert values_of(move.noted.delta) == {"a": 1}
    assert_storable(after)


def test_a_step_without_attempts_begins_at_zero() -> None:
    """It was skipped, or never reached."""
    assert verbs.reset_from(completed(), Progress(), ANN, NOW, first=3, delta=NO_CHANGE).after.attempt == 0


def test_reset_leaves_pending_what_never_began() -> None:
    """All of its steps were skipped."""
    skipped = completed(started_at=None)
    assert verbs.reset_from(skipped, Progress(), ANN, NOW, first=1, delta=NO_CHANGE).after.state == "pending"


def test_reset_never_passes_over_steps() -> None:
    """From the current step or an earlier one; `skip` is for the others."""
    paused = HEADS["paused"]
    assert verbs.reset_from(paused, Progress(), ANN, NOW, first=2, delta=NO_CHANGE).after.position == 2
    with pytest.raises(InvalidState, match=r"'deploy' is at step 2: reset from_step=3 would pass over steps; use skip"):
        verbs.reset_from(paused, Progress(), ANN, NOW, first=3, delta=NO_CHANGE)


@pytest.mark.parametrize("first", [0, -1, 4, "1", 1.0, None], ids=repr)
def test_reset_from_a_step_that_is_not_there_is_refused(first: Any) -> None:
    """The message tells which steps there are."""
    with pytest.raises(InvalidInput, match=rf"^from_step={first!r}: 'deploy' has the steps 1 to 3"):
        verbs.reset_from(completed(), Progress(), ANN, NOW, first=first, delta=NO_CHANGE)


@pytest.mark.parametrize("before", ["pending", "paused", "stopped", "error"])
def test_skip_passes_over_the_current_step(before: str) -> None:
    """The next is pending; what the operator gives is the change of the skipped one."""
    skipped = HEADS[before]
    progress = Progress(attempts={skipped.at + 1: 2})
    move = verbs.skip(skipped, progress, ANN, NOW, delta=Delta.of({"a": 1}))
    after = move.after
    assert (after.state, after.position, after.step_state, after.attempt) == ("paused", skipped.at + 1, "pending", 2)
    assert essence(move.noted) == ("skip", skipped.at, None)
    assert move.noted is not None
    assert values_of(move.noted.delta) == {"a": 1}
    assert_storable(after)


def test_skipping_the_last_step_completes() -> None:
    """There is nothing left to do."""
    failed = resting(WorkflowState.ERROR, StepState.ERROR, position=3, attempt=5)
    move = verbs.skip(failed, Progress(reached=3), ANN, NOW, delta=NO_CHANGE)
    assert (move.cause, move.after.state, move.after.ended_at) == (Cause.SKIP, "completed", NOW)
    assert (move.after.position, move.after.step_state, move.after.attempt) == (None, None, 0)
    assert essence(move.noted) == ("skip", 3, None)


@pytest.mark.parametrize("before", ["pending", "paused", "stopped", "error"])
def test_update_context_keeps_the_state(before: str) -> None:
    """Only the revision and the token rise; the change is at the step that has begun last."""
    edited = HEADS[before]
    move = verbs.update_context(edited, Progress(reached=1), ANN, NOW, delta=Delta.of({"a": 1}, ["b"]))
    after = move.after
    assert (after.state, after.position, after.step_state) == (edited.state, edited.position, edited.step_state)
    assert (after.rev, after.token) == (edited.rev + 1, edited.token + 1)
    assert essence(move.noted) == ("update_context", 1, None)
    assert move.noted is not None
    assert (values_of(move.noted.delta), move.noted.delta.unset) == ({"a": 1}, ("b",))


@pytest.mark.parametrize("verb", ["reset", "reset_from", "skip", "update_context"])
def test_a_verb_that_is_refused_makes_no_move(verb: str) -> None:
    """Each checks for itself."""
    needed: dict[str, dict[str, Any]] = {"reset": {"kept": NO_CHANGE}, "reset_from": {"first": 1}}
    with pytest.raises(WorkflowLocked):
        getattr(verbs, verb)(running(), Progress(), ANN, NOW, delta=NO_CHANGE, **needed.get(verb, {}))
