"""Connections that end for certain, in whatever state they are."""

import asyncio
import sqlite3
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.engine import Connection

from awfe.shielding import to_the_end

if TYPE_CHECKING:
    import aiosqlite

_LAST_WORD: Final = 1.0


class SQLiteConnection(sqlite3.Connection):
    """Rolls back before it closes: else a cursor that a traceback still holds keeps the file locked."""

    def close(self) -> None:
        """Roll back and close; one that is closed already stays so."""
        with suppress(sqlite3.ProgrammingError):
            if self.in_transaction:
                self.rollback()
        super().close()


async def connect_sqlite(*given: Any, **arguments: Any) -> "aiosqlite.Connection":
    """Connect as aiosqlite does, but leave nothing of a connection that failed.

    Its thread has a last word for the loop, which a program that ends with this error has closed by then.
    """
    from awfe.persistence import handover  # noqa: PLC0415 - only who uses SQLite needs its driver

    connection = handover.Connection(partial(sqlite3.connect, *given, **arguments), iter_chunk_size=64)
    thread = connection._thread  # noqa: SLF001 - it has no public name
    thread.daemon = True  # as SQLAlchemy makes those that it connects itself
    try:
        return await connection
    except BaseException:
        await to_the_end(asyncio.to_thread(thread.join, _LAST_WORD))
        raise


def close_for_certain(dialect: Any) -> None:
    """Close also what the server has reset, or is cut off: aiomysql says goodbye first, and stops there."""
    close = dialect.do_close

    def do_close(connection: Any) -> None:
        try:
            with suppress(OSError):
                close(connection)
        finally:
            connection.driver_connection.close()

    dialect.do_close = do_close


def cut(connection: Connection) -> None:
    """End a connection, whatever it is in the middle of."""
    if not connection.closed:
        connection.invalidate()
        connection.close()


def given_back(connection: Connection) -> None:
    """Roll back, and give the connection back."""
    # By itself: `close()` would give back to the pool also what could not be rolled back.
    connection.rollback()
    connection.close()


def committed(connection: Connection) -> None:
    """Commit, and give the connection back: in one greenlet, and nothing is awaited in between."""
    connection.commit()
    connection.close()
