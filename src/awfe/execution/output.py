"""Where the output of steps goes."""

from collections.abc import Callable
from typing import Protocol

from awfe.errors import ConfigError
from awfe.execution.crew import Log


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
