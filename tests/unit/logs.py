"""Logs of workflows, and what they should add up to."""

from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from awfe.domain.delta import Delta
from awfe.domain.log import Entry
from awfe.domain.states import Cause
from awfe.domain.values import decode

keys = st.sampled_from(["a", "b", "c"])
deltas = st.builds(Delta.of, st.dictionaries(keys, st.integers(0, 9), max_size=2), st.lists(keys, max_size=1))
things = st.sampled_from(
    [
        *("completed", "error", "stopped", "interrupted", "step_skipped", "crash"),
        *("checkpoint", "pause", "reset", "reset_from", "skip", "update_context", "noise"),
        *("waits", "rollback"),
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
        self.waits = False
        self.undoing = False
        self._write(Cause.CREATED, 0, first)

    def do(self, what: str, delta: Delta, step: int) -> None:
        """Let one thing happen, where it can."""
        self.rev += 1
        if what == "reset_from":
            if step <= self.position:
                self._reset_from(step, delta)
        elif what == "rollback":
            self._roll_back()
        elif self.undoing:
            self._undo(what, delta)
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
        elif what == "waits":
            # Once more in the same attempt, when it polls.
            self._begin()
            self._write(Cause.STEP_WAITING, self.position, delta, self.attempts.get(self.position, 0) + 1)
            self.waits = True
        elif what == "noise":
            for cause in NOISE:
                self._write(cause, self.position, Delta())
        elif what == "reset" and not self.waits and self.states.get(self.position) in FAILED:
            self._operator(Cause.RESET, self.position, delta)
        elif what == "skip":
            self._begin()
            self._give_up()
            self._operator(Cause.SKIP, self.position, delta)
            self._pass("skipped")
        elif what == "update_context":
            self._operator(Cause.UPDATE_CONTEXT, self.reached, delta)
        elif what == "pause":
            self._operator(Cause.PAUSE, self.position, Delta())

    def _roll_back(self) -> None:
        self._give_up()
        self.failures = self.interrupts = 0
        if not self.undoing:
            self.undoing = True
            self.position = self._last_done()
        self._write(Cause.ROLLBACK, self.position, Delta())

    def _undo(self, what: str, delta: Delta) -> None:
        if not self.position or what not in ("completed", "crash", *FAILED):
            return
        outcome = {"completed": "undone", "crash": "interrupted"}.get(what, what)
        before = self.states[self.position]
        self._end_attempt({"completed": "undone"}.get(what, what), delta)
        if outcome == "undone":
            self.failures = self.interrupts = 0
            self.position = self._last_done()
        else:
            # Whatever became of its undo, the step is done as it was.
            self.states[self.position] = before

    def _last_done(self) -> int:
        return max((step for step, state in self.states.items() if state == "completed"), default=0)

    def _give_up(self) -> None:
        if self.waits:
            self._end_attempt("stopped", Delta())

    def _end_attempt(self, what: str, delta: Delta) -> None:
        self._begin()
        self.waits = False
        outcome = {"crash": "interrupted", "step_skipped": "skipped"}.get(what, what)
        number = self.attempts[self.position] = self.attempts.get(self.position, 0) + 1
        # What an attempt changed counts only when it is completed.
        self._write(Cause(f"step_{outcome}"), self.position, delta, number, counts=outcome in ("completed", "undone"))
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
        self._give_up()
        self.undoing = False
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
