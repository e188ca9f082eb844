"""The tables: whole, in agreement with each other, and as the contract has them."""

import pytest

from awfe.domain.states import (
    ACTIVE,
    ALLOWED,
    ENDED,
    TRANSITIONS,
    VERBS,
    WHILE_UNDOING,
    Answer,
    Cause,
    Verb,
    WorkflowState,
    allowed_in,
    diagram,
)

# What a verb does to a workflow at rest is noted under a cause of its own.
CAUSES = {
    Verb.RUN: Cause.RUN,
    Verb.PAUSE: Cause.PAUSE,
    Verb.STOP: Cause.STOP,
    Verb.RESET: Cause.RESET,
    Verb.RESET_FROM: Cause.RESET_FROM,
    Verb.SKIP: Cause.SKIP,
    Verb.UPDATE_CONTEXT: Cause.UPDATE_CONTEXT,
    Verb.REPLACE_STEPS: Cause.REPLACE_STEPS,
    Verb.ROLLBACK: Cause.ROLLBACK,
    Verb.DELETE: Cause.DELETE,
}
MOVES = (
    *(Answer.RUNS, Answer.RUNS_IF_RERUN, Answer.ATTACHES),
    *(Answer.CHANGED, Answer.HALTS, Answer.ROLLS_BACK),
)


@pytest.mark.parametrize("verb", Verb)
def test_every_verb_has_an_answer_in_every_state(verb: Verb) -> None:
    """No cell of the table is empty."""
    assert tuple(VERBS[verb]) == tuple(WorkflowState)


@pytest.mark.parametrize("verb", Verb)
def test_rolling_back_is_for_every_verb_as_running(verb: Verb) -> None:
    """Somebody is at work in both."""
    assert VERBS[verb][WorkflowState.ROLLING_BACK] == VERBS[verb][WorkflowState.RUNNING]


@pytest.mark.parametrize("verb", CAUSES)
def test_a_verb_is_allowed_where_a_transition_begins(verb: Verb) -> None:
    """The two tables can't disagree."""
    begins = {state for t in TRANSITIONS if t.cause is CAUSES[verb] for state in t.before}
    changes = {state for state, answer in VERBS[verb].items() if answer in MOVES}
    assert begins == changes


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.STOP])
def test_a_request_moves_only_what_waits_by_itself(verb: Verb) -> None:
    """What runs is moved by its runner alone; what waits has none."""
    moves = {state for state, answer in VERBS[verb].items() if answer in MOVES}
    asks = {state for state, answer in VERBS[verb].items() if answer is Answer.REQUESTED}
    assert (moves, asks) == ({WorkflowState.WAITING}, set(ACTIVE))
    assert {t.before for t in TRANSITIONS if t.cause.value == verb.value} == {(WorkflowState.WAITING,)}


def test_a_signal_moves_nothing_by_itself() -> None:
    """It is stored, and taken by the move of the step that waits for it."""
    assert set(VERBS[Verb.SIGNAL].values()) == {Answer.STORED, Answer.DELIVERED, Answer.REFUSED}
    assert not [t for t in TRANSITIONS if t.cause in (Cause.SIGNAL, Cause.APPROVE)]


@pytest.mark.parametrize("state", WorkflowState)
def test_every_state_can_be_reached_and_left(state: WorkflowState) -> None:
    """But one that was deleted is nowhere."""
    assert [t for t in TRANSITIONS if state in t.after]
    assert [t for t in TRANSITIONS if state in t.before]


def test_what_is_allowed_in_the_middle_of_a_rollback_is_allowed_where_one_can_halt() -> None:
    """Forward is not the way any more: no verb that runs, skips or edits a step of it."""
    halted = (WorkflowState.PAUSED, WorkflowState.STOPPED, WorkflowState.ERROR)
    assert {Verb.RUN, Verb.RESET, Verb.SKIP, Verb.UPDATE_CONTEXT, Verb.REPLACE_STEPS}.isdisjoint(WHILE_UNDOING)
    for verb in (Verb.ROLLBACK, Verb.RESET_FROM, Verb.DELETE):
        assert set(halted) <= set(allowed_in(verb))


def test_allowed_in_lists_where_a_verb_is_not_refused() -> None:
    """In the order of the states."""
    assert allowed_in(Verb.RESET) == ("stopped", "error")
    assert allowed_in(Verb.RUN) == ("pending", "waiting", "paused", "stopped", "completed")
    assert allowed_in(Verb.PAUSE) == ("running", "waiting", "paused", "rolling_back")
    assert allowed_in(Verb.ROLLBACK) == ("paused", "stopped", "error", "completed")


def test_nothing_leaves_a_running_workflow_but_its_runner_and_a_takeover() -> None:
    """An operator's verb never moves what runs."""
    by_operators = set(CAUSES.values()) - {Cause.RUN}
    assert not {cause for cause, before, _ in ALLOWED if before in ACTIVE} & by_operators


def test_a_workflow_begins_pending_and_ends_by_deletion() -> None:
    """The two transitions with one open end."""
    assert [(t.cause, t.after) for t in TRANSITIONS if not t.before] == [(Cause.CREATED, (WorkflowState.PENDING,))]
    assert [t.cause for t in TRANSITIONS if not t.after] == [Cause.DELETE]


def test_an_ended_workflow_comes_back_only_when_an_operator_says_so() -> None:
    """Completed work is done again, or undone; what is rolled back stays so."""
    assert {(cause, before) for cause, before, _ in ALLOWED if before in ENDED} == {
        (Cause.RESET_FROM, WorkflowState.COMPLETED),
        (Cause.ROLLBACK, WorkflowState.COMPLETED),
    }


def test_no_transition_is_listed_twice() -> None:
    """One row a thing that happens, and a state that it happens in."""
    rows = [(t.cause, state) for t in TRANSITIONS for state in t.before]
    assert len(rows) == len(set(rows))


def test_the_diagram_shows_every_transition_that_changes_the_state() -> None:
    """And nothing else; `[*]` stands for before the first and after the last."""
    head, *arrows = diagram().splitlines()
    assert head == "stateDiagram-v2"
    drawn = set()
    for arrow in arrows:
        ends, _, causes = arrow.strip().partition(": ")
        before, _, after = ends.partition(" --> ")
        drawn |= {(cause, before, after) for cause in causes.split(", ")}
    changing = {(str(cause), str(b), str(a)) for cause, b, a in ALLOWED if b is not a}
    born = {("created", "[*]", "pending")}
    gone = {("delete", str(state), "[*]") for state in allowed_in(Verb.DELETE)}
    assert drawn == changing | born | gone
    assert diagram().endswith("\n")
