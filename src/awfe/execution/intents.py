"""What an operator wants to be changed at a workflow at rest: checked whole before anything is looked at."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from awfe import checks
from awfe.domain import verbs
from awfe.domain.delta import NO_CHANGE, Delta
from awfe.domain.moves import By, Move
from awfe.errors import InvalidInput
from awfe.persistence.writes import Found


@dataclass(frozen=True, slots=True)
class Intent:
    """A change that is decided on what is found; `takes_unsaved`: also what the last attempt did not save."""

    make: Callable[[Found, By, datetime], Move]
    takes_unsaved: bool = False


def reset(
    from_step: int | None = None, *, keep_context: bool = False, context: Mapping[str, Any] | None = None
) -> Intent:
    """Make the current step pending again, or all from one on."""
    delta = _values(context)
    checks.flag("keep_context", keep_context)
    if from_step is None:

        def make(found: Found, by: By, now: datetime) -> Move:
            kept = found.unsaved if keep_context else NO_CHANGE
            return verbs.reset(found.head, found.progress, by, now, kept=kept, delta=delta)

        return Intent(make, keep_context)
    if keep_context:
        msg = "keep_context is for the current step: from_step drops what it and later steps changed"
        raise InvalidInput(msg)
    return Intent(
        lambda found, by, now: verbs.reset_from(found.head, found.progress, by, now, first=from_step, delta=delta)
    )


def skip(*, context: Mapping[str, Any] | None = None) -> Intent:
    """Pass over the current step."""
    delta = _values(context)
    return Intent(lambda found, by, now: verbs.skip(found.head, found.progress, by, now, delta=delta))


def update_context(values: Mapping[str, Any], unset: Iterable[str] = ()) -> Intent:
    """Set and remove keys of the context."""
    delta = Delta.of(values, unset)
    return Intent(lambda found, by, now: verbs.update_context(found.head, found.progress, by, now, delta=delta))


def _values(context: Mapping[str, Any] | None) -> Delta:
    return Delta.of({} if context is None else context)
