"""What ends a process of pytest that hangs where its timeout does not reach.

pytest-timeout raises in the test, once: a test that swallows that, or whose teardown then waits for what never comes,
would hang for ever. This ends its whole process from outside of Python, after it has printed where all threads are;
under xdist the test is then reported as one that crashed its worker, and another worker goes on.
"""

import faulthandler
import os
from collections.abc import Generator

import pytest

# What a test has for its teardown when its time is over, and a session for its end.
GRACE = 60.0


class Watchdog:
    """A plugin that bites when a test, or the end of a session, lasts too long; there is one watchdog in a process."""

    def __init__(self, limit: float, grace: float = GRACE) -> None:
        """Let a test without a timeout of its own have `limit` seconds."""
        self._limit = limit
        self._grace = grace
        # Of our own: pytest turns the process's over to the capture of each test.
        self._stderr = os.dup(2)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Watch a test with its fixtures."""
        marker = item.get_closest_marker("timeout")
        self._watch(self._grace + (float(marker.args[0]) if marker else self._limit))
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()

    @pytest.hookimpl(trylast=True)
    def pytest_exception_interact(self) -> None:
        """Go on watching: pytest calls the watchdog off when a test has failed, and its teardown is yet to come."""
        self._watch(self._grace)

    @pytest.hookimpl(tryfirst=True)
    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Watch the end of the process, which waits for the threads that are left."""
        if hasattr(config, "workerinput"):
            # It waits for the others, however long their tests last; xdist ends it by itself.
            faulthandler.cancel_dump_traceback_later()
        else:
            self._watch(self._grace)

    def _watch(self, seconds: float) -> None:
        faulthandler.dump_traceback_later(seconds, exit=True, file=self._stderr)
