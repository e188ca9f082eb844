"""Leases: the life of an engine is a row with a time until which it counts as alive, by the database's own clock.

They ask nothing of a server but tables, so they serve where named locks don't: Galera, a pooler in transaction mode, a
proxy. The price: who takes over waits until the lease has run out, up to `lock_limit` seconds.
"""

import asyncio
from typing import Any, Final

from sqlalchemy import bindparam, delete, insert, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateTable

from awfe.errors import AwfeError
from awfe.persistence.locks.presence import PresenceLock, PresenceLocks
from awfe.persistence.schema import lease
from awfe.persistence.session import Database
from awfe.shielding import end

_FORGOTTEN_AFTER: Final = 86_400
# Seconds of the database's clock since 1970, which neither a time zone nor an engine's own clock changes.
_NOW: Final[dict[str, Any]] = {
    "mysql": "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1e6)",
    "postgresql": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS double precision)",
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
}


class LeaseLocks(PresenceLocks):
    """The lease of one engine, renewed by one statement for all that it runs."""

    def __init__(self, database: Database, owner: str) -> None:
        """Keep a lease in this database, in the name of this owner."""
        super().__init__(owner)
        self._database = database
        self._heart: asyncio.Task[None] | None = None
        self._reviving = asyncio.Lock()
        self._doubtful = True
        now: Any = literal_column(_NOW[database.kind])
        until = now + database.settings.lock_limit
        mine = lease.c.owner == bindparam("me")
        self._renew = update(lease).where(mine, lease.c.expires > now).values(expires=until)
        self._rise = update(lease).where(mine).values(expires=until)
        self._insert = insert(lease).values(owner=bindparam("me"), expires=until)
        self._end = delete(lease).where(mine)
        self._forget = delete(lease).where(lease.c.expires < now - _FORGOTTEN_AFTER)
        self._look = select(lease.c.owner).where(mine, lease.c.expires > now)

    async def open(self) -> None:
        """Show that this engine lives; creates the table where only the locks are."""

        async def work(connection: AsyncConnection) -> None:
            # Looked for first: whoever asks to create a table needs the right to, also where there is one.
            if not await connection.run_sync(lambda sync: sync.dialect.has_table(sync, lease.name)):
                await connection.execute(CreateTable(lease, if_not_exists=True))
            await connection.execute(self._forget)

        await self._database.write(work)
        await self.revive()
        self._heart = asyncio.create_task(self._beat(), name="awfe lease")

    async def close(self) -> None:
        """Show that this engine is gone."""
        if self._heart is not None:
            await end(self._heart)

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(self._end, {"me": self.owner})

        try:
            await self._database.write(work, 0)
        except AwfeError as error:
            self._database.log.info("the lease of this engine is left to run out: %s", error)

    async def take(self, workflow_id: int) -> PresenceLock | None:
        """Hold a workflow; a lease that has run out is renewed first."""
        await self.revive()
        return await super().take(workflow_id)

    async def lives(self, owner: str) -> bool:
        """Tell whether another engine's lease runs."""

        async def work(connection: AsyncConnection) -> bool:
            return (await connection.execute(self._look, {"me": owner})).one_or_none() is not None

        return await self._database.read(work)

    async def revive(self) -> None:
        """Show again that this engine lives, once for all that it runs; raises `StoreUnavailable`."""
        async with self._reviving:
            if self._doubtful:  # pragma: no branch - coverage does not see Python 3.11 leave an async with here
                await self._database.write(self._raise)
                self._doubtful = False

    async def _raise(self, connection: AsyncConnection) -> None:
        me = {"me": self.owner}
        if (await connection.execute(self._rise, me)).rowcount != 1:
            await connection.execute(self._insert, me)

    async def _beat(self) -> None:
        interval = self._database.settings.lock_heartbeat
        while True:
            await asyncio.sleep(interval)
            try:
                async with asyncio.timeout(interval):
                    renewed = await self._database.write(self._renewed, 0)
            except (AwfeError, TimeoutError):
                renewed = False
            if not renewed:
                # It has run out, or will: the holders make it certain again, and look at their tokens.
                self._doubtful = True
                for lock in tuple(self.held.values()):
                    lock.lose()

    async def _renewed(self, connection: AsyncConnection) -> bool:
        result = await connection.execute(self._renew, {"me": self.owner})
        return bool(result.rowcount)
