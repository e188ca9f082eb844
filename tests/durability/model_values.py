"""The values of the model: what a step does, a change of the context, a line of the history, a step as it is shown."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Values = dict[str, Any]


@dataclass(frozen=True)
class Deed:
    """What a step does in each attempt: changes, perhaps a checkpoint, more changes, and its end.

    `ends` has the end of each attempt, the last one for all later ones: "ok", "fail", "hold", or "wait" for a signal.
    `yields`: one that is stopped while it holds completes.
    """

    first: tuple[tuple[str, str], ...] = ()
    saves: bool = False
    then: tuple[tuple[str, str], ...] = ()
    ends: tuple[str, ...] = ("ok",)
    tries: int = 1
    delay: bool = False
    skips: bool = False
    rerun: bool = False
    yields: bool = False

    def end(self, attempt: int) -> str:
        """Return how an attempt ends."""
        return self.ends[min(attempt, len(self.ends)) - 1]


@dataclass(frozen=True)
class Change:
    """Keys that are set, with their values, and keys that are removed."""

    put: Values = field(default_factory=dict)
    unset: frozenset[str] = frozenset()

    @classmethod
    def between(cls, old: Values, new: Values) -> "Change":
        """Return what makes one of the other."""
        changed = {key: value for key, value in new.items() if key not in old or old[key] != value}
        return cls(changed, frozenset(old.keys() - new.keys()))

    def then(self, later: "Change") -> "Change":
        """Return both as one."""
        kept = {key: value for key, value in self.put.items() if key not in later.unset}
        values = kept | later.put
        return Change(values, (self.unset | later.unset) - values.keys())

    def without(self, keys: set[str]) -> "Change":
        """Return it but for some keys."""
        return Change({k: v for k, v in self.put.items() if k not in keys}, self.unset - keys)

    def on(self, values: Values) -> Values:
        """Return the values after it."""
        return {key: value for key, value in values.items() if key not in self.unset} | self.put


NONE: Final = Change()


def acted(values: Values, operations: Sequence[tuple[str, str]], stamp: str) -> Values:
    """Return the values after a step's operations."""
    after = dict(values)
    for operation, key in operations:
        if operation == "set":
            after[key] = stamp
        elif operation == "append":
            after[key] = [*after.get(key, []), stamp]
        else:
            after.pop(key, None)
    return after


@dataclass(frozen=True)
class Line:
    """A line of the history; an actor "engine" is an engine's own name."""

    cause: str
    before: str | None
    after: str | None
    step: int | None = None
    attempt: int | None = None
    actor: str | None = None
    change: Change = NONE


@dataclass(frozen=True)
class Shown:
    """A step as `get` shows it, times as whether they are there."""

    state: str
    attempt: int
    begun: bool = False
    ended: bool = False
    change: Change = NONE
    output: str = ""
    error: str | None = None
    due: bool = False


@dataclass(frozen=True)
class Begun:
    """An attempt that began, the context it saw, and what its idempotency key stands for."""

    position: int
    attempt: int
    values: Values
    line: int
