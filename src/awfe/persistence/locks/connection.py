"""One session of a server that holds named locks, watched for its end."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Final, Protocol

from sqlalchemy import TextClause, event, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from awfe.persistence.session import Database

FAILURES = (SQLAlchemyError, OSError, TimeoutError)
_GONE = "the lock connection is gone"
MOST: Final = 64


class Server(Protocol):
    """What differs between the servers."""

    # Calls on a key, which is put between the braces.
    take: str
    release: str
    look: TextClause

    def key(self, instance: str, workflow_id: int) -> str | int:
        """Return the name of a workflow's lock, which differs between awfe's databases on one server."""

    def prepare(self, connection: Any, limit: float) -> None:
        """Make the server let go of a lock connection that is silent for longer than `limit` seconds."""

    def watch(self, driver_connection: Any, on_end: Callable[[], None]) -> Callable[[], None]:
        """Call back as soon as the connection is seen to be gone; returns what ends the watch."""

    async def beat(self, connection: AsyncConnection, driver: Any) -> None:
        """Ask for an answer; a request that is cut in two must not keep the server from letting go."""

    def bell(self, instance: str, owner: str) -> str:
        """Return the name of an engine's bell."""

    async def hang(self, connection: "LockConnection", bell: str, on_ring: Callable[[], None]) -> None:
        """Make a ring of this bell known on this connection, or end it."""

    async def ring(self, connection: AsyncConnection, bell: str) -> None:
        """Ring somebody's bell; one that does not hang anywhere is no error."""


def lock_engine(database: Database, server: Server, size: int) -> AsyncEngine:
    """Return an engine for so many lock connections; the caller disposes of it."""
    limit = database.settings.lock_limit
    engine = database.make_engine(
        size,
        # What runs stands in line for its place before; only a rollback inside of a rollback takes one more.
        max_overflow=-1,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        # The server ends a lock connection that is silent; one from the pool should not be about to be.
        pool_recycle=limit / 2,
    )
    event.listen(engine.sync_engine, "connect", lambda connection, _entry: server.prepare(connection, limit))
    return engine


@cache
def _statement(call: str, count: int) -> TextClause:
    return text("SELECT " + ", ".join(call.format(f":key{n}") for n in range(count)))


class LockConnection:
    """A session with one user at a time; `on_end` is called once, as soon as it is seen to be gone."""

    def __init__(self, connection: AsyncConnection, driver: Any, server: Server, on_end: Callable[[], None]) -> None:
        """Watch a connection that is open."""
        self.driver = driver
        self.ended = asyncio.Event()
        self._connection = connection
        self._server = server
        self._on_end = on_end
        self._busy = asyncio.Lock()
        self._unwatch = server.watch(driver, self.end)

    @classmethod
    async def open(
        cls, engine: AsyncEngine, server: Server, on_end: Callable[[], None], limit: float
    ) -> "LockConnection":
        """Connect within `limit` seconds: drivers give up a server that takes no connection, not one that is silent."""
        async with asyncio.timeout(limit):
            connection = await engine.connect()
        raw = await connection.get_raw_connection()
        return cls(connection, raw.driver_connection, server, on_end)

    async def ask(self, call: str, keys: Sequence[str | int], limit: float) -> list[bool]:
        """Call the server about locks, within `limit` seconds for each statement; there are a few lengths of these.

        An error, a cancellation too, ends the session: they may have been locked.
        """
        async with self._busy:
            if self.ended.is_set():
                # It went while somebody else was being answered.
                raise ConnectionResetError(_GONE)
            answers: list[bool] = []
            try:
                while rest := keys[len(answers) :]:
                    asked = rest[: 1 << (min(len(rest), MOST).bit_length() - 1)]
                    answers += await self._answers(call, asked, limit)
            except BaseException:
                self.end()
                raise
            return answers

    async def _answers(self, call: str, keys: Sequence[str | int], limit: float) -> list[bool]:
        given = {f"key{n}": key for n, key in enumerate(keys)}
        async with asyncio.timeout(limit):
            row = (await self._connection.execute(_statement(call, len(keys)), given)).one()
        return list(map(bool, row))

    async def beat(self, limit: float) -> None:
        """Show the server that we live, and see whether it does."""
        async with self._busy:
            if self.ended.is_set():
                return
            try:
                async with asyncio.timeout(limit):
                    await self._server.beat(self._connection, self.driver)
            except Exception:  # noqa: BLE001 - a driver's own errors too: whatever it is, nobody has answered
                self.end()

    def end(self) -> None:
        """Hold it for gone."""
        if not self.ended.is_set():
            self.ended.set()
            self._on_end()

    async def close(self) -> None:
        """Give it back to its pool; one that is gone, or in doubt, is closed, which gives its locks back."""
        async with self._busy:
            if self.ended.is_set():
                await _drop(self._connection)
                return
            # From here on its end is nobody's concern.
            self.ended.set()
            self._unwatch()
            # What is called back refers to this: the circle would be the collector's to find.
            del self._unwatch, self._on_end
            await self._connection.close()

    async def drop(self) -> None:
        """Close it, and with it whatever it still holds."""
        self.ended.set()
        async with self._busy:
            await _drop(self._connection)


async def _drop(connection: AsyncConnection) -> None:
    with suppress(SQLAlchemyError, OSError):
        await connection.invalidate()
    with suppress(SQLAlchemyError, OSError):
        await connection.close()
