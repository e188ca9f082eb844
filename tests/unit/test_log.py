"""The log adds up: to the context at any step, to the attempts, to the budget of retries."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awfe.domain.context import Delta
from awfe.domain.log import Entry, Progress, replay
from awfe.domain.states import Cause, StepState
from awfe.domain.values import decode
from tests.unit.strategies import same

keys = st.sampled_from(["a", "b", "c"])
deltas = st.builds(Delta.of, st.dictionaries(keys, st.integers(0, 9), max_size=2), st.lists(keys, max_size=1))
things = st.sampled_from(
    [
        *("completed", "error", "stopped", "interrupted", "step_skipped", "crash"),
        *("checkpoint", "pause", "reset", "reset_from", "skip", "update_context", "noise"),
    ]
)
lives = st.lists(st.tuples(things, deltas, st.integers(1, 3)), max_size=25)
STEPS = 3
FAILED = ("error", "stopped", "interrupted")
NOISE = (Cause.RUN, Cause.SHUTDOWN, Cause.REQUEST_LAPSED, Cause.HALTED, Cause.TAKEOVER)


def decoded(values: dict[str, bytes]) -> dict[str, Any]:
    """Return a context as a step sees it."""
    return {key: decode(data) for key, data in values.items()}


class Model:
    """Writes a log as a workflow of three steps would, and remembers in its own way what it should add up to."""

    def __init__(self, first: Delta) -> None:
        """Begin with the line of the creation."""
        self.log: list[Entry] = []
        self.rev = 0
        self.position = 1
        self.values: dict[str, bytes] = {}
        self.before: dict[int, dict[str, bytes]] = {}
        self.states: dict[int, str] = {}
        self.attempts: dict[int, int] = {}
        self.lines = dict.fromkeys(range(1, STEPS + 1), 0)
        self.failures = 0
        self.interrupts = 0
        self._write(Cause.CREATED, 0, first)

    def do(self, what: str, delta: Delta, step: int) -> None:
        """Let one thing happen, where it can."""
        self.rev += 1
        if what == "reset_from":
            if step <= self.position:
                self._reset_from(step, delta)
        elif self.position <= STEPS:
            self._do_to_current(what, delta)

    @property
    def reached(self) -> int:
        """The last step that has begun."""
        return max(self.before, default=0)

    def _do_to_current(self, what: str, delta: Delta) -> None:
        if what in (*FAILED, "completed", "step_skipped", "crash"):
            self._end_attempt(what, delta)
        elif what == "checkpoint":
            # The attempt that wrote it ends by a failure, so that the log is that of a workflow at rest.
            self._begin()
            self._write(Cause.CHECKPOINT, self.position, delta, self.attempts.get(self.position, 0) + 1)
            self.rev += 1
            self._end_attempt("error", Delta())
        elif what == "noise":
            for cause in NOISE:
                self._write(cause, self.position, Delta())
        elif what == "reset" and self.states.get(self.position) in FAILED:
            self._operator(Cause.RESET, self.position, delta)
        elif what == "skip":
            self._begin()
            self._operator(Cause.SKIP, self.position, delta)
            self._pass("skipped")
        elif what == "update_context":
            self._operator(Cause.UPDATE_CONTEXT, self.reached, delta)
        elif what == "pause":
            self._operator(Cause.PAUSE, self.position, Delta())

    def _end_attempt(self, what: str, delta: Delta) -> None:
        self._begin()
        outcome = {"crash": "interrupted", "step_skipped": "skipped"}.get(what, what)
        number = self.attempts[self.position] = self.attempts.get(self.position, 0) + 1
        # What an attempt changed counts only when it is completed.
        self._write(Cause(f"step_{outcome}"), self.position, delta, number, counts=outcome == "completed")
        self.states[self.position] = outcome
        self.failures += outcome == "error"
        if outcome != "interrupted":
            self.interrupts = 0
        if what == "crash":
            self._write(Cause.TAKEOVER, self.position, Delta())
            self.interrupts += 1
        if outcome in ("completed", "skipped"):
            self._pass(outcome)

    def _begin(self) -> None:
        self.before.setdefault(self.position, dict(self.values))

    def _pass(self, state: str) -> None:
        self.states[self.position] = state
        self.position += 1
        self.failures = self.interrupts = 0

    def _operator(self, cause: Cause, position: int, delta: Delta) -> None:
        self._write(cause, position, delta)
        self.failures = self.interrupts = 0

    def _reset_from(self, step: int, delta: Delta) -> None:
        self.values = dict(self.before.get(step, self.values))
        for later in range(step, STEPS + 1):
            self.before.pop(later, None)
            self.states.pop(later, None)
            self.lines[later] = self.rev
        self.position = step
        self._operator(Cause.RESET_FROM, step - 1, delta)

    def _write(self, cause: Cause, position: int, delta: Delta, attempt: int = 0, *, counts: bool = True) -> None:
        self.log.append(Entry(self.rev, cause, position, attempt, delta))
        if counts:
            delta.apply(self.values)


def lived(first: Delta, life: Iterable[tuple[str, Delta, int]]) -> Model:
    """Return a model to which all that has happened."""
    model = Model(first)
    for what, delta, step in life:
        model.do(what, delta, step)
    return model


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
    "cause", [Cause.RESET, Cause.RESET_FROM, Cause.SKIP, Cause.UPDATE_CONTEXT, Cause.PAUSE], ids=str
)
def test_a_retry_budget_starts_anew_after_an_operators_verb(cause: Cause) -> None:
    """Somebody has looked at it."""
    assert log_of((Cause.STEP_ERROR, 1, 1), (cause, 1, 0)).failures == 0


def test_a_retry_budget_starts_anew_after_a_stop() -> None:
    """`run` goes on with a stopped step that is declared `rerun`."""
    assert log_of((Cause.STEP_ERROR, 1, 1), (Cause.STOP, 1, 0), (Cause.STEP_STOPPED, 1, 2)).failures == 0


@pytest.mark.parametrize("outcome", [Cause.STEP_COMPLETED, Cause.STEP_SKIPPED], ids=str)
def test_the_failures_of_a_passed_step_are_not_those_of_the_next(outcome: Cause) -> None:
    """A run that a shutdown paused between two steps goes on with a whole budget."""
    assert log_of((Cause.STEP_ERROR, 1, 1), (outcome, 1, 2), (Cause.SHUTDOWN, 1, 0)).failures == 0


def test_a_step_cut_off_by_a_shutdown_is_interrupted_but_no_crash() -> None:
    """A deploy may happen any number of times."""
    progress = log_of(*[(Cause.STEP_INTERRUPTED, 1, number) for number in range(1, 9)])
    assert (progress.interrupts, progress.ended[1]) == (0, StepState.INTERRUPTED)
