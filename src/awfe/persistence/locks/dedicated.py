"""A lock connection for each running workflow: nothing is shared, so nothing else goes with one that is lost."""

import asyncio

from awfe.persistence.locks.base import Held
from awfe.persistence.locks.connection import FAILURES, LockConnection
from awfe.persistence.locks.named import NamedLocks
from awfe.shielding import to_the_end


class DedicatedLocks(NamedLocks):
    """Locks with a connection each, from a pool that `max_running` bounds."""

    held: "set[DedicatedLock]"

    @property
    def size(self) -> int:
        """One for each workflow that runs."""
        return self.database.settings.max_running

    @property
    def connections(self) -> list[LockConnection]:
        """Those of the locks that are held."""
        return [lock.connection for lock in self.held if lock.connection is not None]

    async def open(self) -> None:
        """Begin without a lock."""
        self.held = set()
        await super().open()

    async def take(self, workflow_id: int) -> "DedicatedLock | None":
        """Try to lock a workflow, without waiting; None when it is held elsewhere."""
        lock = DedicatedLock(self, self.key(workflow_id))
        got = False
        try:
            got = await self.database.retried(lock.acquire)
        finally:
            if not got:
                # A caller that was cancelled may have got it all the same.
                await to_the_end(lock.release())
        if got:
            self.held.add(lock)
        return lock if got else None


class DedicatedLock(Held):
    """One named lock on one connection."""

    def __init__(self, locks: DedicatedLocks, key: str | int) -> None:
        """Not locked yet."""
        super().__init__()
        self.key = key
        self.connection: LockConnection | None = None
        self._locks = locks
        self._busy = asyncio.Lock()

    async def acquire(self) -> bool:
        """Lock on a new connection; False when some other session has the lock."""
        connection = await self._locks.connect(self._ended)
        try:
            (got,) = await connection.ask(self._locks.server.take, [self.key], self._locks.limit)
        except BaseException:
            await to_the_end(connection.drop())
            raise
        if not got:
            await connection.close()
            return False
        self.connection = connection
        self.is_lost = False
        if connection.ended.is_set():
            self.lose()
        return True

    async def regain(self) -> bool:
        """Lock again on a new connection; False when some other session has the lock."""
        async with self._busy:
            if self.connection is not None:
                if not self.is_lost:
                    return True
                connection, self.connection = self.connection, None
                await to_the_end(connection.drop())
            return await self.acquire()

    async def release(self) -> None:
        """Give the lock back; a connection that does not say so is closed, which gives it back too."""
        self._locks.held.discard(self)
        self.forget()
        async with self._busy:
            connection, self.connection = self.connection, None
            if connection is None:
                return
            freed = False
            try:
                (freed,) = await connection.ask(self._locks.server.release, [self.key], self._locks.limit)
            except FAILURES:
                pass
            finally:
                await (connection.close() if freed else connection.drop())

    def _ended(self) -> None:
        # The end of a connection that is not ours any more, or not yet, is no loss.
        if self.connection is not None and self.connection.ended.is_set():
            self.lose()
