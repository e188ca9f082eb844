"""The log of a workflow: what each move left behind, and what it all adds up to.

Nothing in it is ever changed. The state of every step, the context now or before any step, and the counters of
retries are what a replay finds. A change of the context is a layer at a position: `reset` from a step cuts the layers
from that position on, and they never grow out of order, so a cut is all it takes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from awfe.domain.delta import Delta
from awfe.domain.moves import Move
from awfe.domain.states import OUTCOMES, Cause, StepState

_OF_OUTCOME = {f"step_{outcome}": outcome for outcome in OUTCOMES}
# What an operator did to the current step gives it a fresh budget of retries.
_NEW_BUDGET = frozenset(
    (
        *(Cause.RESET, Cause.RESET_FROM, Cause.SKIP, Cause.UPDATE_CONTEXT, Cause.REPLACE_STEPS),
        *(Cause.PAUSE, Cause.STOP, Cause.ROLLBACK),
    )
)
_PASSED = (StepState.COMPLETED, StepState.SKIPPED)
_KEEPS_CHANGES = (None, StepState.COMPLETED, StepState.UNDONE)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One line of the log; `position` is that of its change in the context."""

    rev: int
    cause: Cause
    position: int
    attempt: int
    delta: Delta | None


@dataclass(slots=True)
class Progress:
    """What the log of a workflow adds up to; `edited`: keys that operators changed since the last attempt.

    `layers` are the lines whose changes are in the context; `replaced_rev` is when its steps were replaced last.
    """

    layers: list[Entry] = field(default_factory=list)
    attempts: dict[int, int] = field(default_factory=dict)
    ended: dict[int, StepState] = field(default_factory=dict)
    resets: list[tuple[int, int]] = field(default_factory=list)
    edited: set[str] = field(default_factory=set)
    reached: int = 0
    failures: int = 0
    interrupts: int = 0
    interrupted_rev: int = -1
    replaced_rev: int = 0
    undoing: bool = False

    def context(self, up_to: int | None = None) -> dict[str, bytes]:
        """Return the context, or as it was before the step after `up_to` began: encoded values under their keys."""
        values: dict[str, bytes] = {}
        for layer in self.layers:
            if layer.delta and (up_to is None or layer.position <= up_to):
                layer.delta.apply(values)
        return values

    def line(self, position: int) -> int:
        """Return the revision of the last reset that began this step anew: it makes an idempotency key differ."""
        return max((rev for rev, first in self.resets if first <= position), default=0)

    def next_attempt(self, position: int) -> int:
        """Return the number of the next attempt of a step; numbers count up for ever."""
        return self.attempts.get(position, 0) + 1


def replay(entries: Iterable[Entry]) -> Progress:
    """Add up a log, which is in the order of its revisions."""
    progress = Progress()
    for entry in entries:
        _add(progress, entry)
    return progress


def entries(move: Move) -> list[Entry]:
    """Return the lines that a move adds to the log, in their order."""
    rev, ended, noted = move.after.rev, move.ended, move.noted
    lines = []
    if ended is not None:
        lines.append(Entry(rev, Cause(f"step_{ended.outcome}"), ended.position, ended.attempt, ended.delta))
    if noted is not None:
        lines.append(Entry(rev, noted.cause, noted.position, noted.attempt or 0, noted.delta))
    return lines


def _add(progress: Progress, entry: Entry) -> None:
    position, cause = entry.position, entry.cause
    outcome = _OF_OUTCOME.get(cause)
    if outcome is not None:
        _add_attempt(progress, entry, outcome)
    elif cause is Cause.TAKEOVER:
        # Only a crash counts: what a closing engine cut off is a deploy, and a delay was no attempt.
        progress.interrupts += entry.rev == progress.interrupted_rev
    elif cause is Cause.STEP_WAITING:
        _reach(progress, position)
    elif cause is Cause.ROLLBACK:
        progress.undoing = True
    elif cause in (Cause.RESET_FROM, Cause.REPLACE_STEPS):
        _begin_anew(progress, entry)
    elif cause is Cause.SKIP:
        progress.reached = max(progress.reached, position)
        progress.ended[position] = StepState.SKIPPED
    elif cause is Cause.UPDATE_CONTEXT and entry.delta:
        progress.edited.update(entry.delta.set, entry.delta.unset)
    if cause in _NEW_BUDGET:
        progress.failures = progress.interrupts = 0
    if entry.delta and outcome in _KEEPS_CHANGES:
        progress.layers.append(entry)


def _begin_anew(progress: Progress, entry: Entry) -> None:
    if entry.cause is Cause.REPLACE_STEPS:
        # They are other steps, whatever was tried in their places.
        progress.replaced_rev = entry.rev
        progress.resets.append((entry.rev, entry.position))
        return
    progress.undoing = False
    progress.layers = [layer for layer in progress.layers if layer.position <= entry.position]
    progress.resets.append((entry.rev, entry.position + 1))
    progress.reached = min(progress.reached, entry.position)
    progress.ended = {p: state for p, state in progress.ended.items() if p <= entry.position}


def _reach(progress: Progress, position: int) -> None:
    if position > progress.reached:
        progress.failures = progress.interrupts = 0
        progress.reached = position


def _add_attempt(progress: Progress, entry: Entry, outcome: StepState) -> None:
    position = entry.position
    _reach(progress, position)
    # The highest, not the last: whatever the rows say, the number of the next attempt is free.
    progress.attempts[position] = max(progress.attempts.get(position, 0), entry.attempt)
    # An undo that failed leaves its step as it was: done.
    if not progress.undoing or outcome is StepState.UNDONE:
        progress.ended[position] = outcome
    progress.edited.clear()
    if outcome in (*_PASSED, StepState.UNDONE):
        progress.failures = 0
    progress.failures += outcome is StepState.ERROR
    if outcome is StepState.INTERRUPTED:
        progress.interrupted_rev = entry.rev
    else:
        progress.interrupts = 0
