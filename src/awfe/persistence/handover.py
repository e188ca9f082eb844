"""SQLite in a thread of its own, to which a statement is handed over once: rows and the end of its cursor come along.

aiosqlite goes there and back for the cursor, for the statement, for the rows, and for the end of the cursor. A BEGIN
goes with the first statement of its transaction, and the statements of a request go together.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Sequence
from itertools import islice
from typing import Any, Final, Self

import aiosqlite

# So many rows come along; of more, the rest is fetched when it is asked for.
_MOST: Final = 256


class Connection(aiosqlite.Connection):
    """A connection whose cursors are made where they are used."""

    _begin = ""
    # Whether the last request has brought its own COMMIT.
    _is_committed = False

    def cursor(self) -> "Cursor":  # type: ignore[override]  # aiosqlite's is a coroutine; this can be awaited
        """Return a cursor; nothing is handed over yet."""
        return Cursor(self)

    def begin(self, how: str) -> None:
        """Begin a transaction so, as soon as there is a statement for it."""
        self._begin = how

    def begins(self) -> str:
        """Return how the statement that is handed over now has to begin its transaction, or nothing."""
        begin, self._begin, self._is_committed = self._begin, "", False
        return begin

    def committed(self) -> None:
        """Note that the transaction is committed already, for who does not know it."""
        self._is_committed = True

    async def commit(self) -> None:
        """Commit, where something was begun."""
        self._begin = ""
        if not self._is_committed:
            await super().commit()

    async def rollback(self) -> None:
        """Roll back, where something was begun."""
        self._begin = ""
        await super().rollback()

    async def do(self, function: Callable[..., Any], *given: Any) -> Any:
        """Do something in the thread."""
        return await self._execute(function, *given)  # type: ignore[no-untyped-call]  # aiosqlite's is not typed

    def within(self, begin: str) -> sqlite3.Connection:
        """Begin, and return what the thread works with; raises `ValueError` when it is closed."""
        if begin:
            try:
                self._conn.execute(begin)
            except sqlite3.Error:
                # Whoever goes on all the same must not do so outside a transaction.
                self._begin = begin
                raise
        return self._conn


class Cursor:
    """A cursor as SQLAlchemy's adapter uses it, and as a step may that has got to the driver: as aiosqlite's own."""

    arraysize = 1

    def __init__(self, connection: Connection) -> None:
        """Prepare it."""
        self.connection = connection
        self._rest: sqlite3.Cursor | None = None
        self._forget()

    def _forget(self) -> None:
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self._rows: list[Any] = []

    def __await__(self) -> Generator[Any, Any, Self]:
        """Return it."""
        return self.__aenter__().__await__()

    async def __aenter__(self) -> Self:
        """Enter it."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close it."""
        await self.close()

    async def execute(self, sql: str, parameters: Any = None) -> Self:
        """Execute a statement."""
        return await self._hand_over("execute", sql, () if parameters is None else parameters)

    async def executemany(self, sql: str, parameters: Iterable[Any]) -> Self:
        """Execute it for each of some parameters."""
        return await self._hand_over("executemany", sql, parameters)

    async def execute_all(self, statements: Iterable[str], parameters: Sequence[Any]) -> int:
        """Execute the statements of a transaction, of which the last ends it; returns how many rows the first changed.

        What a failure leaves is to be rolled back.
        """
        changed: int = await self.connection.do(self._run_all, self.connection.begins(), statements, parameters)
        self.connection.committed()
        return changed

    async def executescript(self, sql: str) -> Self:
        """Execute some statements; sqlite3 commits before them."""
        return await self._hand_over("executescript", sql)

    async def fetchone(self) -> Any:
        """Return the next row, or None."""
        rows = await self.fetchmany(1)
        return rows[0] if rows else None

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        """Return the next rows, at most so many."""
        size = self.arraysize if size is None else size
        if self._rest is not None and len(self._rows) < size:
            await self.connection.do(self._fetch, size - len(self._rows))
        rows, self._rows = self._rows[:size], self._rows[size:]
        return rows

    async def fetchall(self) -> list[Any]:
        """Return all rows that are left."""
        if self._rest is not None:
            await self.connection.do(self._fetch, None)
        rows, self._rows = self._rows, []
        return rows

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Return the rows one by one."""
        while rows := await self.fetchmany(_MOST):
            for row in rows:
                yield row

    async def close(self) -> None:
        """Close it; rows that are left are gone."""
        self._rows = []
        if self._rest is not None:
            await self.connection.do(self._finish)

    async def _hand_over(self, how: str, *given: Any) -> Self:
        await self.connection.do(self._run, self.connection.begins(), how, *given)
        return self

    def _run(self, begin: str, how: str, *given: Any) -> None:
        self._finish()
        self._forget()
        cursor = self._rest = self.connection.within(begin).cursor()
        try:
            getattr(cursor, how)(*given)
            self.description, self.lastrowid = cursor.description, cursor.lastrowid
            self._fetch(_MOST if self.description else None)
        except BaseException:
            self._finish()
            raise

    def _run_all(self, begin: str, statements: Iterable[str], parameters: Sequence[Any]) -> int:
        self._finish()
        self._forget()
        given = iter(parameters)
        driver = self.connection.within(begin)
        assert driver.in_transaction  # noqa: S101 - each would be stored by itself
        counts = [driver.execute(each, tuple(islice(given, each.count("?")))).rowcount for each in statements]
        return counts[0]

    def _fetch(self, most: int | None) -> None:
        if self._rest is None:
            # Who was cancelled while it was being fetched asks once more.
            return
        rows = self._rest.fetchall() if most is None else self._rest.fetchmany(most)
        self._rows += rows
        if most is None or len(rows) < most:
            # UPDATE … RETURNING knows its count when its rows are read.
            self.rowcount = self._rest.rowcount
            self._finish()

    def _finish(self) -> None:
        rest, self._rest = self._rest, None
        if rest is not None:
            rest.close()
