"""Calls to the database that fail as databases, drivers and networks let them: from the n-th on, once or longer."""

import asyncio
import sqlite3
from enum import StrEnum
from importlib import import_module
from typing import Any, Final

from sqlalchemy.util import await_only

from awfe.engine import Engine
from awfe.testing.calls import Call, Calls, Kind


class Fault(StrEnum):
    """What befalls a call.

    `LOST_BEFORE`: its connection is gone before it. `LOST_AFTER`: it is done, and the connection goes before the answer
    comes. `DEADLOCK`, `LOCK_TIMEOUT` and `CONFLICT`: the server, or SQLite's file lock, refuses it, with errors that
    pass. `TIMEOUT_BEFORE` and `TIMEOUT_AFTER`: the driver gives up waiting, and it was done or not. `HANG_BEFORE` and
    `HANG_AFTER`: no answer ever comes, so that the engine has to give up. `DELAY`: it takes a while.
    """

    LOST_BEFORE = "lost_before"
    LOST_AFTER = "lost_after"
    DEADLOCK = "deadlock"
    LOCK_TIMEOUT = "lock_timeout"
    CONFLICT = "conflict"
    TIMEOUT_BEFORE = "timeout_before"
    TIMEOUT_AFTER = "timeout_after"
    HANG_BEFORE = "hang_before"
    HANG_AFTER = "hang_after"
    DELAY = "delay"

    @property
    def is_after(self) -> bool:
        """Whether the call is done all the same."""
        return self in (Fault.LOST_AFTER, Fault.TIMEOUT_AFTER, Fault.HANG_AFTER)

    def befalls(self, database: str, kind: Kind) -> bool:
        """Tell whether this can happen to such a call."""
        if database == "sqlite" and self in _OF_A_NETWORK:
            return False
        if self in _REFUSALS:
            return kind in ("execute", "commit")
        # What has connected and is given up is closed by the driver; then it is the same as not to have connected.
        return kind != "connect" or self not in (Fault.TIMEOUT_AFTER, Fault.HANG_AFTER)


_OF_A_NETWORK: Final = (Fault.LOST_BEFORE, Fault.LOST_AFTER, Fault.HANG_BEFORE, Fault.HANG_AFTER)
_REFUSALS: Final[dict[Fault, dict[str, tuple[Any, str]]]] = {
    Fault.DEADLOCK: {
        "mysql": (1213, "Deadlock found when trying to get lock; try restarting transaction"),
        "postgresql": ("DeadlockDetectedError", "deadlock detected"),
        "sqlite": ("SQLITE_BUSY", "database is locked"),
    },
    Fault.LOCK_TIMEOUT: {
        "mysql": (1205, "Lock wait timeout exceeded; try restarting transaction"),
        "postgresql": ("LockNotAvailableError", "canceling statement due to lock timeout"),
        "sqlite": ("SQLITE_LOCKED", "database table is locked"),
    },
    Fault.CONFLICT: {
        "mysql": (1020, "Record has changed since last read in table 'awfe_workflow'"),
        "postgresql": ("SerializationError", "could not serialize access due to concurrent update"),
        "sqlite": ("SQLITE_BUSY_SNAPSHOT", "database is locked"),
    },
}
_LOST: Final[dict[str, tuple[Any, str]]] = {
    "mysql": (2013, "Lost connection to MySQL server during query"),
    "postgresql": ("ConnectionDoesNotExistError", "connection was closed in the middle of operation"),
}
_UNREACHABLE: Final = (111, "Connect call failed")
_DELAY: Final = 0.02
_FOR_EVER: Final = 86_400.0


class Faults:
    """Lets calls of an engine fail from the `number`-th on: so many `times`, or with None until `heal()`.

    A call that such a fault can't befall is spared, and the next that it can is hit. `hits` counts. The errors are
    those of the real drivers, and a connection that is lost is really closed. It takes both hooks of `calls`.
    """

    def __init__(self, calls: Calls, fault: Fault, number: int, times: int | None = 1) -> None:
        """Begin with the next call."""
        self.hits = 0
        self._calls = calls
        self._fault = fault
        self._number = number
        self._left = float("inf") if times is None else times
        self._struck: set[int] = set()
        calls.before, calls.after = self._before, self._after

    def heal(self) -> None:
        """Let no further call fail."""
        self._left = 0

    def _before(self, call: Call) -> None:
        if call.number < self._number or not self._left or not self._fault.befalls(self._calls.database, call.kind):
            return
        self._left -= 1
        self.hits += 1
        if self._fault.is_after:
            self._struck.add(call.number)
        elif self._fault is Fault.LOST_BEFORE and call.kind != "connect":
            # The call itself runs into it.
            lose(call)
        else:
            self._strike(call)

    def _after(self, call: Call) -> None:
        if call.number in self._struck:
            self._struck.remove(call.number)
            self._strike(call)

    def _strike(self, call: Call) -> None:
        fault, database = self._fault, self._calls.database
        if fault is Fault.DELAY:
            await_only(asyncio.sleep(_DELAY))
        elif fault in (Fault.HANG_BEFORE, Fault.HANG_AFTER):
            await_only(asyncio.sleep(_FOR_EVER))
        elif fault in (Fault.TIMEOUT_BEFORE, Fault.TIMEOUT_AFTER):
            raise TimeoutError
        elif fault is Fault.LOST_BEFORE:
            if database == "mysql":
                _raise(call, database, 2003, _UNREACHABLE[1])
            raise ConnectionRefusedError(*_UNREACHABLE)
        elif fault is Fault.LOST_AFTER:
            lose(call)
            if call.kind != "connect":
                _raise(call, database, *_LOST[database])
        else:
            _raise(call, database, *_REFUSALS[fault][database])


def fail_at(engine: Engine, number: int, fault: Fault, times: int | None = 1) -> Faults:
    """Let calls of an engine that is not open yet fail: so many from the given one on, or all until `heal()`."""
    return Faults(Calls(engine), fault, number, times)


def lose(call: Call) -> None:
    """Close the connection of a call as a network does that is gone: at once, without a word to the server."""
    holder = getattr(call.driver, "_writer", None) or call.driver
    transport = getattr(holder, "transport", None) or getattr(holder, "_transport", None)
    if transport is not None:
        transport.abort()
    # The driver hears of it in the loop's next rounds.
    await_only(asyncio.sleep(0))
    await_only(asyncio.sleep(0))


def _raise(call: Call, database: str, code: Any, text: str) -> None:
    """Raise the driver's own error, as SQLAlchemy hands it on."""
    if database == "mysql":
        raise import_module("pymysql.err").OperationalError(code, text)
    if database == "postgresql":
        call.connection._handle_exception(getattr(import_module("asyncpg.exceptions"), code)(text))  # noqa: SLF001 - the only place where SQLAlchemy translates it
    error = sqlite3.OperationalError(text)
    error.sqlite_errorname = code
    raise error
