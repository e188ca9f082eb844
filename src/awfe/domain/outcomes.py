"""How an attempt of a step ended."""

import traceback
from enum import StrEnum

import msgspec

from awfe.domain.delta import NO_CHANGE, Delta
from awfe.domain.waits import Wait, Waiting

MAX_MESSAGE = 16_384
MAX_TRACEBACK = 65_536
MAX_REASON = 4_096


class Ending(StrEnum):
    """The ways in which an attempt ends."""

    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    WAITING = "waiting"


class ErrorInfo(msgspec.Struct, frozen=True, gc=False):
    """An exception as it is kept: storable in every database, and bounded."""

    type: str
    message: str
    traceback: str = ""

    @classmethod
    def of(cls, error: BaseException) -> "ErrorInfo":
        """Describe an exception; never fails, whatever its `__str__` does."""
        try:
            message = str(error)
        except BaseException as broken:  # noqa: BLE001 - a user's __str__ may raise anything
            message = f"<its __str__ raised {type(broken).__name__}>"
        try:
            trace = "".join(traceback.format_exception(error))
        except BaseException as broken:  # noqa: BLE001 - as above, deeper down
            trace = f"<its traceback raised {type(broken).__name__}>"
        kind = type(error)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        return cls(storable(name, 255), storable(message, MAX_MESSAGE), storable(trace, MAX_TRACEBACK))

    @property
    def first_line(self) -> str:
        """The type and the first line of the message."""
        return f"{self.type}: {self.message}".splitlines()[0].removesuffix(": ")


def storable(text: str, limit: int) -> str:
    """Return a text that every database takes: no NUL, no lone surrogate, its middle left out beyond the limit."""
    shortened = _shortened(text, limit).replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
    return _shortened(shortened, limit)


def _shortened(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    half = limit // 2 - 20
    return f"{text[:half]}\n… {len(text) - 2 * half} characters …\n{text[-half:]}" if half > 0 else text[:limit]


class Outcome(msgspec.Struct, frozen=True):
    """What one attempt left behind.

    `alive`: its body would not end and still runs, fenced. `begun`: not when it was cut off before its first line.
    `waiting`: what it waits for, or goes on waiting for. `signal`: the id of the one whose payload is in `delta`.
    """

    ending: Ending
    delta: Delta = NO_CHANGE
    output: str = ""
    error: ErrorInfo | None = None
    alive: bool = False
    begun: bool = True
    waiting: Waiting | Wait | None = None
    signal: int | None = None
