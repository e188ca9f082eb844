"""Named locks of a server: what a connection for each lock and one connection for all have in common."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from awfe.persistence.locks.connection import LockConnection, Server, lock_engine
from awfe.persistence.session import Database
from awfe.shielding import end


class NamedLocks(ABC):
    """The locks of one engine at one server."""

    def __init__(self, database: Database, server: Server, instance: str) -> None:
        """Take locks on this database's server, for the workflows of the database `instance`."""
        self.database = database
        self.server = server
        self._instance = instance
        self.engine: AsyncEngine
        self._heart: asyncio.Task[None]

    @property
    def limit(self) -> float:
        """How long an answer about a lock may take before its connection is held for dead, in seconds."""
        return self.database.settings.lock_limit / 2

    @property
    @abstractmethod
    def size(self) -> int:
        """How many lock connections there may be."""

    @property
    @abstractmethod
    def connections(self) -> list[LockConnection]:
        """The lock connections that there are."""

    async def open(self) -> None:
        """Begin the heartbeat."""
        self.engine = lock_engine(self.database, self.server, self.size)
        self._heart = asyncio.create_task(self._beat(), name="awfe lock heartbeat")

    async def close(self) -> None:
        """Close the lock connections, and with them whatever they still hold."""
        await end(self._heart)
        await self.database.dispose(self.engine)

    def key(self, workflow_id: int) -> str | int:
        """Return the name of a workflow's lock."""
        return self.server.key(self._instance, workflow_id)

    async def connect(self, on_end: Callable[[], None]) -> LockConnection:
        """Return a new lock connection."""
        return await LockConnection.open(self.engine, self.server, on_end, self.limit)

    async def is_held(self, workflow_id: int, owner: str | None) -> bool:  # noqa: ARG002 - a server knows without the owner
        """Tell whether somebody holds the lock, without taking it."""
        key = self.key(workflow_id)

        async def work(connection: AsyncConnection) -> bool:
            return bool((await connection.execute(self.server.look, {"key": key})).scalar())

        return await self.database.read(work)

    async def _beat(self) -> None:
        interval = self.database.settings.lock_heartbeat
        while True:
            await asyncio.sleep(interval)
            await asyncio.gather(*(connection.beat(interval) for connection in self.connections))
