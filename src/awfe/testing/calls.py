"""Every call of an engine to its database: counted, logged, and with a place to act before and after each."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from sqlalchemy.ext.asyncio import AsyncEngine

from awfe.engine import Engine

Kind = Literal["connect", "execute", "commit", "rollback"]
When = Literal["before", "after"]
Hook = Callable[["Call"], None]

CRASHED: Final = 42

_EXECUTES: Final = ("do_execute", "do_executemany", "do_execute_no_params")
_ENDS: Final[dict[str, Kind]] = {"do_commit": "commit", "do_rollback": "rollback"}


@dataclass(frozen=True, slots=True)
class Call:
    """One call; `number` counts from 1, `statement` is empty but for `execute`.

    `connection` is SQLAlchemy's face of the driver's connection, and `driver` that connection itself, for hooks that
    break it: None in the log, and before a `connect`.
    """

    number: int
    kind: Kind
    statement: str = ""
    connection: Any = field(default=None, repr=False, compare=False)

    @property
    def driver(self) -> Any:
        """The driver's own connection."""
        return None if self.connection is None else self.connection.driver_connection


class Calls:
    """The calls of one engine, of its data and its lock connections. Make it before `engine.open()`.

    `database` says what is called: "sqlite", "mysql" or "postgresql".
    `before` is called before each call and `after` when it has succeeded, both where the call is made: what they raise
    is what the call raises, they may end the process, and `sqlalchemy.util.await_only` lets them wait. `log` holds the
    calls in the order in which they began; the `commit` of a lone move is there, though it was sent with its
    statements, in the call before. Not seen: the settings of a new session, which follow its `connect`; the closing of
    connections; and the `connect` of an `AsyncEngine` that was made with a creator.
    """

    def __init__(self, engine: Engine) -> None:
        """Watch an engine that is not open yet."""
        self.database = engine._database.kind  # noqa: SLF001 - "sqlite", "mysql" or "postgresql"
        self.before: Hook | None = None
        self.after: Hook | None = None
        self.log: list[Call] = []
        engine._database.on_engine.append(self._watch)  # noqa: SLF001 - the seam that was made for this class

    @property
    def count(self) -> int:
        """How many calls have begun."""
        return len(self.log)

    def clear(self) -> None:
        """Forget the calls so far: the next has the number 1."""
        self.log.clear()

    def crash_at(self, number: int, when: When = "before") -> None:
        """End the process with the status 42 at a call, without a clean-up; replaces the hook of that moment."""

        def crash(call: Call) -> None:
            if call.number == number:
                os._exit(CRASHED)

        if when == "before":
            self.before = crash
        else:
            self.after = crash

    def _watch(self, engine: AsyncEngine) -> None:
        dialect: Any = engine.sync_engine.dialect
        for name in _EXECUTES:
            setattr(dialect, name, self._execute(getattr(dialect, name)))
        for name, kind in _ENDS.items():
            setattr(dialect, name, self._end(dialect, kind, getattr(dialect, name)))
        dialect.connect = self._connect(dialect, dialect.connect)

    def _connect(self, dialect: Any, real: Callable[..., Any]) -> Callable[..., Any]:
        def connect(*args: Any, **kwargs: Any) -> Any:
            call = self._begin("connect")
            connection = real(*args, **kwargs)
            try:
                self._ended(call, connection)
            except BaseException:
                # It has no owner yet who would close it.
                dialect.do_terminate(connection)
                raise
            return connection

        return connect

    def _execute(self, real: Callable[..., None]) -> Callable[..., None]:
        def execute(cursor: Any, statement: str, *args: Any, **kwargs: Any) -> None:
            connection = cursor._adapt_connection  # noqa: SLF001 - SQLAlchemy's cursors have no public way back
            call = self._begin("execute", statement, connection)
            real(cursor, statement, *args, **kwargs)
            self._ended(call, connection)

        return execute

    def _end(self, dialect: Any, kind: Kind, real: Callable[[Any], None]) -> Callable[[Any], None]:
        def end(connection: Any) -> None:
            # From a session it comes with the pool's wrapping, which is gone when the connection is given up.
            adapted = getattr(connection, "dbapi_connection", connection)
            if dialect.skip_autocommit_rollback and dialect.detect_autocommit_setting(adapted):
                # Nothing is sent.
                real(connection)
                return
            call = self._begin(kind, "", adapted)
            real(connection)
            self._ended(call, adapted)

        return end

    def _begin(self, kind: Kind, statement: str = "", connection: Any = None) -> Call:
        call = Call(len(self.log) + 1, kind, statement)
        self.log.append(call)
        if self.before is not None:
            self.before(replace(call, connection=connection))
        return call

    def _ended(self, call: Call, connection: Any) -> None:
        if self.after is not None:
            self.after(replace(call, connection=connection))


def crash_at(engine: Engine, number: int, when: When = "before") -> Calls:
    """Let a process end with the status 42, without a clean-up, before or after the given call of its engine."""
    calls = Calls(engine)
    calls.crash_at(number, when)
    return calls
