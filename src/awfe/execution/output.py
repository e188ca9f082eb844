"""Where the output of steps goes."""

from collections.abc import Callable
from typing import Protocol

from awfe.domain.outcomes import storable
from awfe.domain.services import Log
from awfe.errors import ConfigError


class Writer(Protocol):
    """An object that takes text, such as a file."""

    def write(self, text: str, /) -> object:
        """Take a text."""


Redirect = Callable[[str], object] | Writer


def writer_to(redirect: Redirect | None, log: Log) -> Callable[[str], None]:
    """Return a function that passes text on; its failure is logged once and fails no step."""
    if redirect is None:
        return lambda _text: None
    write = getattr(redirect, "write", redirect)
    if not callable(write):
        msg = f"redirect={redirect!r:.100}: give a function of one string, or an object with write"
        raise ConfigError(msg)
    failed = False

    def pass_on(text: str) -> None:
        nonlocal failed
        try:
            write(text)
        except Exception:
            if not failed:
                failed = True
                log.exception("redirect failed, which is not said again")

    return pass_on


class Tail:
    """The last of a step's output, bounded in bytes: by twice the limit while it is collected."""

    def __init__(self, limit: int) -> None:
        """Keep so many bytes."""
        self._limit = limit
        self._size = 0
        self._parts: list[str] = []

    def add(self, text: str) -> None:
        """Add what was printed."""
        part = storable(text[-self._limit :] if self._limit else "", max(self._limit, 1))
        self._parts += [part] * bool(part)
        self._size += len(part.encode())
        if self._size > 2 * self._limit:
            self._parts = [self.text()]
            self._size = len(self._parts[0].encode())

    def text(self) -> str:
        """Return what is kept."""
        if not self._parts:
            return ""
        encoded = "".join(self._parts).encode()
        return encoded[max(0, len(encoded) - self._limit) :].decode(errors="ignore")
