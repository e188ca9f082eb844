"""Each thing that can happen, and lives made of many of them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awfe.domain import moves, verbs
from awfe.domain.context import NO_CHANGE, Delta
from awfe.domain.decide import Halt, Situation, decide
from awfe.domain.log import Progress
from awfe.domain.moves import NOBODY, By, Head, Move
from awfe.domain.outcomes import Ending, Outcome
from awfe.domain.retry import Retry
from awfe.domain.states import ALLOWED, VERBS, Answer, Cause, StepState, Verb, WorkflowState, allowed_in
from awfe.domain.step import Policies
from awfe.errors import WorkflowLocked
from tests.unit.heads import LATER, NOW, STARTED_AT, assert_storable, completed, ended, essence, head, resting, running

ANN = By("ann", "because")


class Life:
    """A workflow to which anything happens that can happen to it."""

    def __init__(self, draw: st.DataObject, step_count: int) -> None:
        """Begin with a new workflow."""
        self._draw = draw
        self.head = head(step_count=step_count)

    def go(self) -> None:
        """Let one more thing happen, and check what it leads to."""
        before = self.head
        move = self._runner_moves() if before.state is WorkflowState.RUNNING else self._operator_moves()
        if move is None:
            return
        assert (move.cause, before.state, move.after.state) in ALLOWED
        assert move.after.rev == before.rev + 1
        assert move.after.token - before.token in (0, 1)
        assert_storable(move.after)
        self.head = move.after

    def _runner_moves(self) -> Move:
        head, draw = self.head, self._draw.draw
        if draw(st.booleans(), label="ask"):
            head = replace(head, request=draw(st.sampled_from(["pause", "stop"])), stop_grace=1.0)
        if draw(st.integers(0, 4), label="crash") == 0:
            return moves.taken_over(head, NOW, NOBODY, rerun=draw(st.booleans()))
        if head.request == "stop" and draw(st.booleans(), label="frozen"):
            return moves.fenced(head, NOW, ANN)
        halt = draw(st.sampled_from(Halt))
        if head.due_at is not None:
            if halt:
                return moves.halted(head, halt.state, NOW, resumable=halt is Halt.SHUTDOWN)
            return moves.begun(head, NOW)
        if draw(st.booleans(), label="checkpoint"):
            return moves.checkpointed(head, NO_CHANGE, NOW)
        policies = Policies(retry=draw(st.sampled_from([Retry(attempts=3), Retry(attempts=3, wait=0)])))
        situation = Situation(head, policies, draw(st.integers(0, 3)), draw(st.integers(1, 3)), halt, NOW)
        return decide(situation, draw(st.builds(Outcome, st.sampled_from(Ending), alive=st.booleans())))

    def _operator_moves(self) -> Move | None:
        head, progress = self.head, Progress(reached=(self.head.position or 1) - 1)
        if head.owner is not None:
            with pytest.raises(WorkflowLocked):
                verbs.check(head, Verb.DELETE)
            return moves.body_ended(head, NOW)
        verb = self._draw.draw(st.sampled_from([verb for verb in Verb if head.state in allowed_in(verb)]))
        stuck = head.state is WorkflowState.STOPPED and head.step_state is StepState.PENDING
        if verb is Verb.RUN and head.state is not WorkflowState.COMPLETED and not stuck:
            return moves.claimed(head, 1, "r", "host:2", NOW, ANN, stop_grace=7.5)
        make = {
            Verb.RESET: lambda: verbs.reset(head, progress, ANN, NOW, kept=NO_CHANGE, delta=NO_CHANGE),
            Verb.RESET_FROM: lambda: verbs.reset_from(head, progress, ANN, NOW, first=1, delta=NO_CHANGE),
            Verb.SKIP: lambda: verbs.skip(head, progress, ANN, NOW, delta=NO_CHANGE),
            Verb.UPDATE_CONTEXT: lambda: verbs.update_context(head, progress, ANN, NOW, delta=NO_CHANGE),
        }
        return make[verb]() if verb in make else None


@given(st.data(), st.integers(1, 3), st.integers(1, 30))
def test_whatever_happens_leads_to_what_the_schema_can_hold(draw: st.DataObject, steps: int, length: int) -> None:
    """Runners, crashes, requests and operators, in any order."""
    life = Life(draw, steps)
    for _ in range(length):
        life.go()


def test_a_move_that_is_not_in_the_table_can_not_be_made() -> None:
    """A bug is found before it is written."""
    with pytest.raises(AssertionError, match=r"^run leads from completed to running: not in TRANSITIONS"):
        moves.claimed(completed(position=1), 1, "r", "host:1", NOW, NOBODY, stop_grace=7.5)


def test_a_claim_begins_an_attempt() -> None:
    """With a fresh run, a higher token and the time of the first start."""
    move = moves.claimed(head(), 1, "r1", "host:1", NOW, ANN, stop_grace=7.5)
    after = move.after
    assert (after.state, after.step_state, after.position, after.attempt) == ("running", "running", 1, 1)
    assert (after.token, after.run_id, after.rev, after.owner) == (1, "r1", 1, "host:1")
    assert after.attempt_started_at == after.started_at == NOW
    assert essence(move.noted) == ("run", 1, "host:1")
    assert move.noted is not None
    assert move.noted.by == ANN


def test_a_later_claim_keeps_the_first_start() -> None:
    """It began when it began; what waited for nobody is over."""
    paused = resting(WorkflowState.PAUSED, StepState.PENDING, resumable=True)
    after = moves.claimed(paused, 5, "r2", "host:1", LATER, NOBODY, stop_grace=7.5).after
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
    move = moves.taken_over(before, NOW, ANN, rerun=rerun)
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
    move = moves.taken_over(waiting, NOW, ANN, rerun=False)
    assert (move.cause, move.after.state, move.after.step_state) == (Cause.TAKEOVER, state, "pending")
    assert (move.ended, move.after.due_at) == (None, None)
    assert move.after.resumable == (request_ is None)


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


@pytest.mark.parametrize("between", [False, True])
def test_a_fenced_run_is_stopped_and_keeps_its_owner(between: bool) -> None:  # noqa: FBT001 - pytest gives it
    """Nobody knows whether its body goes on; the token sees to it that nothing of it is saved."""
    began = moves.claimed(head(), 1, "r1", "host:1", NOW, ANN, stop_grace=1.0).after
    asked = replace(began, request="stop", attempt_started_at=None if between else NOW)
    move = moves.fenced(asked, LATER, ANN)
    assert (move.after.state, move.after.owner, move.after.token) == ("stopped", "host:1", asked.token + 1)
    assert (move.ended is None) is between
    assert moves.body_ended(move.after, LATER).after.owner is None
