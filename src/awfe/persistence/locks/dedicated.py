"""Named locks of a server, each on a connection of its own that is watched for its end."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from sqlalchemy import TextClause, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from awfe.errors import StoreUnavailable
from awfe.persistence.session import Database
from awfe.shielding import end


class Server(Protocol):
    """What differs between the servers."""

    take: TextClause
    release: TextClause
    look: TextClause

    def key(self, instance: str, workflow_id: int) -> str | int:
        """Return the name of a workflow's lock, which differs between awfe's databases on one server."""

    def prepare(self, connection: Any, limit: float) -> None:
        """Make the server let go of a lock connection that is silent for longer than `limit` seconds."""

    def watch(self, driver_connection: Any, on_end: Callable[[], None]) -> Callable[[], None]:
        """Call back as soon as the connection is seen to be gone; returns what ends the watch."""


class DedicatedLocks:
    """A lock connection for each running workflow, from a pool that `max_running` bounds."""

    def __init__(self, database: Database, server: Server) -> None:
        """Take locks on this database's server."""
        self.database = database
        self.server = server
        self.held: set[DedicatedLock] = set()
        self._engine: AsyncEngine | None = None
        self._heart: asyncio.Task[None] | None = None

    @property
    def engine(self) -> AsyncEngine:
        """The engine of the lock connections."""
        assert self._engine is not None  # noqa: S101 - awfe.Engine opens the locks before it runs anything
        return self._engine

    async def open(self) -> None:
        """Begin the heartbeat."""
        limit = self.database.settings.lock_limit
        self._engine = self.database.make_engine(
            self.database.settings.max_running,
            isolation_level="AUTOCOMMIT",
            skip_autocommit_rollback=True,
            # The server ends a lock connection that is silent; one from the pool should not be about to be.
            pool_recycle=limit / 2,
        )
        event.listen(
            self._engine.sync_engine, "connect", lambda connection, _entry: self.server.prepare(connection, limit)
        )
        self._heart = asyncio.create_task(self._beat(), name="awfe lock heartbeat")

    async def close(self) -> None:
        """Close the lock connections, and with them whatever they still hold."""
        if self._heart is not None:
            await end(self._heart)
        if self._engine is not None:
            await self.database.dispose(self._engine)

    async def take(self, workflow_id: int) -> "DedicatedLock | None":
        """Try to lock a workflow, without waiting; None when it is held elsewhere."""
        lock = DedicatedLock(self, self.server.key(self.database.instance, workflow_id))
        settings = self.database.settings
        if not await self.database.retried(lock.acquire, min(settings.connect_retry_for, settings.db_retry_for)):
            return None
        self.held.add(lock)
        return lock

    async def is_held(self, workflow_id: int, owner: str | None) -> bool:  # noqa: ARG002 - a server knows without the owner
        """Tell whether somebody holds the lock, without taking it."""
        key = self.server.key(self.database.instance, workflow_id)

        async def work(session: AsyncSession) -> bool:
            return bool((await session.execute(self.server.look, {"key": key})).scalar())

        return await self.database.read(work)

    async def _beat(self) -> None:
        interval = self.database.settings.lock_heartbeat
        while True:
            await asyncio.sleep(interval)
            await asyncio.gather(*(lock.beat(interval) for lock in tuple(self.held)))


class DedicatedLock:
    """One named lock on one connection."""

    def __init__(self, locks: DedicatedLocks, key: str | int) -> None:
        """Not locked yet."""
        self.lost = asyncio.Event()
        self._locks = locks
        self._key = key
        self._connection: AsyncConnection | None = None
        self._busy = asyncio.Lock()
        self._on_loss: Callable[[], None] | None = None
        self._unwatch: Callable[[], None] = _nothing

    def watch(self, on_loss: Callable[[], None]) -> None:
        """Call this as soon as the lock's connection is gone."""
        self._on_loss = on_loss
        if self.lost.is_set():
            on_loss()

    async def acquire(self) -> bool:
        """Lock on a new connection; False when some other session has the lock."""
        connection = await self._locks.engine.connect()
        try:
            got = bool((await connection.execute(self._locks.server.take, {"key": self._key})).scalar())
            raw = await connection.get_raw_connection()
        except BaseException:
            # It may have been locked all the same: then only the end of the session gives it back.
            await _drop(connection)
            raise
        if not got:
            await connection.close()
            return False
        self._connection = connection
        self.lost.clear()
        self._unwatch = self._locks.server.watch(raw.driver_connection, lambda: self._ended(connection))
        return True

    async def regain(self) -> bool:
        """Lock again on a new connection; False when some other session has the lock."""
        async with self._busy:
            if self._connection is not None:
                if not self.lost.is_set():
                    return True
                connection, self._connection = self._connection, None
                await _drop(connection)
            return await self.acquire()

    async def beat(self, limit: float) -> None:
        """Show the server that we live, and see whether it does."""
        async with self._busy:
            connection = self._connection
            if connection is None or self.lost.is_set():
                return
            try:
                async with asyncio.timeout(limit):
                    await connection.exec_driver_sql("SELECT 1")
            except (SQLAlchemyError, OSError, TimeoutError):
                self._ended(connection)

    async def release(self) -> None:
        """Give the lock back; a connection that does not say so is closed, which gives it back too."""
        self._locks.held.discard(self)
        self._on_loss = None
        async with self._busy:
            connection, self._connection = self._connection, None
            if connection is None:
                return
            try:
                async with asyncio.timeout(self._locks.database.settings.lock_heartbeat):
                    freed = (await connection.execute(self._locks.server.release, {"key": self._key})).scalar()
            except (SQLAlchemyError, OSError, TimeoutError, StoreUnavailable):
                freed = False
            if freed:
                self._unwatch()
                await connection.close()
            else:
                await _drop(connection)

    def _ended(self, connection: AsyncConnection) -> None:
        if connection is self._connection and not self.lost.is_set():
            self.lost.set()
            if self._on_loss is not None:
                self._on_loss()


def _nothing() -> None:
    """Stand for a watch that has not begun."""


async def _drop(connection: AsyncConnection) -> None:
    with suppress(SQLAlchemyError, OSError):
        await connection.invalidate()
    with suppress(SQLAlchemyError, OSError):
        await connection.close()
