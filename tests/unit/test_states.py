"""The tables: whole, in agreement with each other, and as the contract has them."""

import pytest

from awfe.domain.states import (
    ALLOWED,
    ENDED,
    REACHABLE,
    TRANSITIONS,
    VERBS,
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
    Verb.RESET: Cause.RESET,
    Verb.RESET_FROM: Cause.RESET_FROM,
    Verb.SKIP: Cause.SKIP,
    Verb.UPDATE_CONTEXT: Cause.UPDATE_CONTEXT,
    Verb.DELETE: Cause.DELETE,
}
MOVES = (Answer.RUNS, Answer.RUNS_IF_RERUN, Answer.CHANGED)


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
    assert begins == changes & REACHABLE


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.STOP])
def test_a_request_never_moves_a_workflow_by_itself(verb: Verb) -> None:
    """Only the runner acts on it, so no transition is called like it."""
    assert not set(VERBS[verb].values()) & set(MOVES)
    assert not [t for t in TRANSITIONS if t.cause.value == verb.value]


def test_allowed_in_lists_where_a_verb_is_not_refused() -> None:
    """In the order of the states; one that no workflow can be in is not named."""
    assert allowed_in(Verb.RESET) == ("stopped", "error")
    assert allowed_in(Verb.RUN) == ("pending", "paused", "stopped", "completed")
    assert allowed_in(Verb.PAUSE) == ("running", "paused")


def test_nothing_leaves_a_running_workflow_but_its_runner_and_a_takeover() -> None:
    """An operator's verb never moves what runs."""
    by_operators = set(CAUSES.values()) - {Cause.RUN}
    assert not {cause for cause, before, _ in ALLOWED if before is WorkflowState.RUNNING} & by_operators


def test_a_workflow_begins_pending_and_ends_by_deletion() -> None:
    """The two transitions with one open end."""
    assert [(t.cause, t.after) for t in TRANSITIONS if not t.before] == [(Cause.CREATED, (WorkflowState.PENDING,))]
    assert [t.cause for t in TRANSITIONS if not t.after] == [Cause.DELETE]


def test_an_ended_workflow_comes_back_only_by_reset_from_a_step() -> None:
    """Completed work is done again only when an operator says so."""
    assert {cause for cause, before, _ in ALLOWED if before in ENDED} == {Cause.RESET_FROM}


def test_no_transition_is_listed_twice() -> None:
    """One row a thing that happens, but for those that keep the state."""
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
