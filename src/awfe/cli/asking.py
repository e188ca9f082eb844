"""Asks before something is done that can't be undone."""

import signal
import sys

from awfe.cli.out import Out
from awfe.errors import InvalidInput


class Declined(Exception):
    """The operator said no."""


def expect_terminal(out: Out) -> None:
    """Raise `InvalidInput` where there is nobody to be asked."""
    if out.as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        msg = "this needs a yes, and there is no terminal to ask on: add --yes"
        raise InvalidInput(msg)


def confirm(question: str) -> None:
    """Return when the operator says yes; raises `Declined`."""
    # The loop's own handler would only cancel this task, which waits for the terminal and not for the loop.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        answer = sys.stdin.readline()
    finally:
        signal.signal(signal.SIGINT, before)
    if answer.strip().lower() not in ("y", "yes"):
        raise Declined
