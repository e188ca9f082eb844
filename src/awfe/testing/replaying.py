"""The log of a workflow, followed line by line: it must contradict neither itself nor the row."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from awfe.testing.histories import ACTIVE, ENDED, History, Line

# Each of these is about the step at which the workflow stands.
_AT_CURRENT: Final = ("run", "checkpoint", "attempt_begun", "step_waiting")
# Each of these goes away from an attempt that waits.
_ELSEWHERE: Final = ("skip", "reset_from", "rollback")
_PASSES: Final = ("step_completed", "step_skipped", "step_undone")


class Replay:
    """Follows the log and says where it contradicts itself, or the row.

    `at` is the step at which it stands: 0 when all is rolled back, None when it is one below `limit` that was completed
    and can be undone, which only the next line tells.
    """

    def __init__(self, history: History) -> None:
        """Begin before the first line."""
        self._history = history
        self._count = history.row["step_count"]
        self._rev = -1
        self._before: str | None = None
        self._state: str | None = None
        self._at: int | None = 1
        self._limit = 0
        self._passed: set[int] = set()
        self._completed: set[int] = set()
        self._ended: Counter[int] = Counter()
        self._asked: Line | None = None
        self._waits = False
        self._undoing = False

    def problems(self) -> Iterator[str]:
        """Yield a sentence for each contradiction."""
        for line in self._history.lines:
            if line.rev != self._rev and line.is_move:
                # All lines of one move come from the same state.
                self._rev, self._before = line.rev, self._state
            yield from self._line(line)
        yield from self._standing(self._history.row)

    def _standing(self, row: Mapping[str, Any]) -> Iterator[str]:
        state, step_state = row["state"], row["step_state"]
        if state != self._state:
            yield f"its row is {state}, its log {self._state}"
        yield from self._found_at(row["position"] or (0 if state == "rolled_back" else self._count + 1), "its row")
        if state == "completed" and (left := set(range(1, self._count + 1)) - self._passed):
            yield f"it is completed, but its steps {sorted(left)} are neither completed nor skipped"
        if bool(row["undoing"]) != self._undoing:
            yield f"its row says that undoing is {row['undoing']}, its log {self._undoing}"
        if state != "running" and (step_state == "waiting") != self._waits:
            yield f"its step is {step_state}, but in its log its last attempt {'waits' if self._waits else 'has ended'}"

    def _found_at(self, position: int, what: str, again: str = "") -> Iterator[str]:
        """Say where something does not stand where the log is; an undo that nobody has told of yet begins here."""
        if self._at is None:
            if position >= self._limit or position not in self._completed:
                yield f"{what} is about step {position}, which is not to be undone below step {self._limit}"
            self._at = position
        elif position != self._at:
            yield f"{what} is about step {position}{again}, but it stood at step {self._at}"

    def _line(self, line: Line) -> Iterator[str]:
        before = self._before if line.is_move else self._state
        if line.before != before:
            late = ", so it came after the workflow's end" if before in ENDED else ""
            yield f"{line.what} says that it was {line.before}, but it was {before}{late}"
        if line.is_request:
            self._asked = line
        elif line.is_move and self._asked is not None:
            if line.after not in ACTIVE:
                self._asked = None
            elif line.cause != "checkpoint":
                yield f"a step began with {line.what}, although {self._asked.what} had asked it not to"
        if line.token is not None:
            yield from self._attempt(line)
        else:
            yield from self._event(line)
        self._state = line.after

    def _event(self, line: Line) -> Iterator[str]:
        cause, position = line.cause, line.position
        if cause in _AT_CURRENT:
            yield from self._found_at(position, line.what)
        if cause in ("checkpoint", "step_waiting") and line.attempt != self._ended[position] + 1:
            yield f"{line.what} is of attempt {line.attempt} of step {position}, which did not run"
        if cause in _ELSEWHERE and self._waits:
            yield f"{line.what} leaves an attempt of step {self._at} that waits, and that never ended"
        if cause == "step_waiting":
            self._waits = True
        elif cause == "skip":
            self._passed.add(position)
            self._at = position + 1
        elif cause == "reset_from":
            self._at, self._undoing = position + 1, False
            self._passed = {each for each in self._passed if each <= position}
            self._completed &= self._passed
        elif cause == "rollback":
            yield from self._rollback(line)

    def _rollback(self, line: Line) -> Iterator[str]:
        to, below = line.position, self._limit if self._at is None else self._at
        current = to == self._at and self._ended[to] > 0
        if to and not current and (to >= below or to not in self._completed):
            yield f"{line.what} is about step {to}, which is not to be undone below step {below}"
        self._at, self._undoing = to, True

    def _attempt(self, line: Line) -> Iterator[str]:
        position = line.position
        yield from self._found_at(position, line.what, " and was passed already" if position in self._passed else "")
        self._ended[position] += 1
        self._waits = False
        if (line.cause == "step_undone") != (self._undoing and line.cause in _PASSES):
            yield f"{line.what} is the end of {'an undo' if self._undoing else 'the work'} of step {position}"
        if line.cause in ("step_completed", "step_skipped"):
            self._passed.add(position)
            self._completed |= {position} if line.cause == "step_completed" else set()
            self._at = position + 1
        elif line.cause == "step_undone":
            self._passed.discard(position)
            self._completed.discard(position)
            self._at, self._limit = (0 if line.after == "rolled_back" else None), position
