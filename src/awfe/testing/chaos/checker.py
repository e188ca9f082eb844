"""Compares what the processes wrote down with what the tables tell; shares nothing with awfe's own reading.

What was acknowledged must be there, and once; what is there must have been done, and once.
"""

import json
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

from awfe.testing.chaos.notes import Attempt, Notes
from awfe.testing.chaos.steps import count_of
from awfe.testing.histories import History, Line

# What a verb that was done has left in the history, exactly once.
_LEAVES: Final = {
    "reset": "reset",
    "restart": "reset",
    "reset_from": "reset_from",
    "restart_from": "reset_from",
    "skip": "skip",
    "update_context": "update_context",
}
# A verb that is refused has done nothing; only `restart` may have done its first half.
_HALVES: Final = ("restart", "restart_from")
_RESETS: Final = ("reset", "reset_from")
_CUT_OFF: Final = ("step_interrupted", "step_stopped")


class Comparison:
    """One workflow, as the journal and as the tables tell it; `frozen`: processes that were stopped for a while."""

    def __init__(self, notes: Notes, history: History, frozen: set[int]) -> None:
        """Compare nothing yet."""
        self.late = 0
        self._notes = notes
        self._history = history
        self._frozen = frozen
        self._rows: dict[Attempt, Line] = {(line.position, line.attempt or 0): line for line in history.attempts}
        self._begun = Counter(body.attempt for body in notes.begun)
        self._ended = Counter(body.attempt for body in notes.ended)

    def problems(self) -> Iterator[str]:
        """Yield a sentence for each contradiction."""
        yield from self._bodies()
        yield from self._order()
        yield from self._repetitions()
        yield from self._verbs()
        yield from self._returned()
        if self._history.row["state"] == "completed":
            yield from self._result()

    def _bodies(self) -> Iterator[str]:
        for what, counted in (("began", self._begun), ("ended", self._ended)):
            for (position, number), times in counted.items():
                if times > 1:
                    yield f"duplicated: the body of attempt {number} of step {position} {what} {times} times"
        row = self._history.row
        running = (row["position"], row["attempt"]) if row["step_state"] == "running" else None
        for position, number in self._begun.keys() - self._rows.keys() - {running}:
            yield f"lost: the body of attempt {number} of step {position} began, and no row tells of it"
        begun = {(body.attempt, body.pid) for body in self._notes.begun}
        for body in self._notes.ended:
            if (body.attempt, body.pid) not in begun:
                yield f"the body of attempt {body.attempt} ended in process {body.pid}, where it had not begun"
        for attempt, line in self._rows.items():
            if line.cause == "step_completed" and not self._ended[attempt]:
                yield f"missing: {line.what} was committed, but no body of attempt {attempt} came to its end"

    def _order(self) -> Iterator[str]:
        """A body that begins after its attempt was over for all to see: only a frozen process can't help it."""
        newest = -1
        ran = list(self._notes.ran)
        for index, body in enumerate(self._notes.begun):
            while ran and ran[0].after <= index:
                newest = max(newest, ran.pop(0).revision + 1)
            line = self._rows.get(body.attempt)
            if line is None:
                continue
            if line.rev < newest:
                if line.cause in _CUT_OFF and body.pid in self._frozen:
                    self.late += 1
                else:
                    yield f"duplicated: the body of attempt {body.attempt} began after {line.what} was acknowledged"
            newest = max(newest, line.rev)

    def _repetitions(self) -> Iterator[str]:
        policies = {step["position"]: json.loads(step["policies"]) for step in self._history.steps}
        taken_over = {line.rev for line in self._history.lines if line.cause == "takeover"}
        last: dict[int, Line] = {}
        for line in self._history.lines:
            if line.cause in _RESETS:
                last.clear()
            if line.token is None:
                continue
            before, policy = last.get(line.position), policies[line.position]
            last[line.position] = line
            if before is None:
                continue
            began = before.rev in taken_over or self._begun[line.position, before.attempt or 0] > 0
            forbidden = before.cause in _CUT_OFF and began and policy.get("on_interrupt") != "rerun"
            if forbidden or (before.cause == "step_error" and "retry" not in policy):
                yield f"duplicated: step {line.position}: {line.what}, though nobody had reset {before.what}"

    def _verbs(self) -> Iterator[str]:
        done = Counter(
            (line.reason, line.cause) for line in self._history.lines if line.reason and line.reason.isdigit()
        )
        for (number, cause), times in done.items():
            if number not in self._notes.asked:
                yield f"its history has a {cause} that nobody asked for, with the reason {number}"
            if times > 1:
                yield f"duplicated: {cause} {number} was done {times} times"
        for number, (verb, what) in self._notes.asked.items():
            cause = _LEAVES.get(verb, verb)
            if what == "done" and verb in _LEAVES and not done[number, cause]:
                yield f"lost: {verb} {number} was acknowledged, and left nothing in the history"
            if what == "refused" and verb not in _HALVES and done[number, cause]:
                yield f"{verb} {number} was refused, and done all the same"

    def _returned(self) -> Iterator[str]:
        states: dict[int, str] = {}
        for line in self._history.lines:
            states[line.rev] = line.after
        for ran in self._notes.ran:
            if states.get(ran.revision) != ran.state:
                stored = states.get(ran.revision)
                yield f"lost: `run` returned it {ran.state} at revision {ran.revision}, where it was {stored}"
            elif self._context(ran.revision) != ran.context:
                yield f"the context that `run` returned at revision {ran.revision} is not what the log adds up to"

    def _context(self, revision: int) -> dict[str, Any]:
        layers: list[tuple[int, dict[str, Any]]] = []
        for line in self._history.lines:
            if line.rev > revision:
                break
            if line.cause == "reset_from":
                layers = [layer for layer in layers if layer[0] <= line.position]
            if line.changes is not None and line.cause in ("step_completed", *_NOTED):
                layers.append((line.position, json.loads(line.changes)))
        context: dict[str, Any] = {}
        for _, delta in layers:
            for key in delta.get("unset", ()):
                context.pop(key, None)
            context.update(delta.get("set", {}))
        return context

    @cached_property
    def _passed(self) -> dict[int, int | None]:
        """The number of the attempt that completed each step, None where it was passed over."""
        passed: dict[int, int | None] = {}
        for line in self._history.lines:
            if line.cause == "reset_from":
                passed = {position: number for position, number in passed.items() if position <= line.position}
            elif line.cause in ("skip", "step_skipped"):
                passed[line.position] = None
            elif line.cause == "step_completed":
                passed[line.position] = line.attempt
        return passed

    def _result(self) -> Iterator[str]:
        context = self._context(self._history.row["rev"])
        if context.get("count") != count_of(context):
            yield f"missing: its counter is {context.get('count')}, its steps have noted {count_of(context)}"
        for step in self._history.steps:
            position = step["position"]
            if position not in self._passed:
                yield f"missing: it is completed without step {position}"
                continue
            number, mark = self._passed[position], context.get(f"mark{position}")
            if mark != number:
                yield f"missing: step {position} was completed by attempt {number}, its mark in the context is {mark}"
            stages = json.loads(step["args"])["stages"]
            if number is not None and context.get(f"done{position}", 0) != stages:
                yield f"missing: step {position} is completed with {context.get(f'done{position}')} of {stages} stages"


_NOTED: Final = ("created", "checkpoint", "reset", "reset_from", "skip", "update_context")
