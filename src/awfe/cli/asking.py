"""Asks before something is done that can't be undone."""

import signal
import sys

from awfe.cli.out import Out
from awfe.errors import InvalidInput


class Declined(Exception):
    """The operator said no."""


def confirm(out: Out, question: str, *, yes: bool) -> None:
    """Return when it may be done; raises `Declined`, or `InvalidInput` where there is nobody to be asked."""
    if yes:
        return
    if out.as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        msg = "this needs a yes, and there is no terminal to ask on: add --yes"
        raise InvalidInput(msg)
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
