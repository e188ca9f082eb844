"""One lock connection for all workflows of an engine: thousands run on two connections to the server."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from awfe.persistence.gathering import Gathering
from awfe.persistence.locks.base import Held
from awfe.persistence.locks.connection import FAILURES, MOST, LockConnection
from awfe.persistence.locks.named import NamedLocks
from awfe.shielding import to_the_end

# A connection, and the key of a lock that it holds.
_Locked = tuple[LockConnection, str | int]


class SharedLocks(NamedLocks):
    """Locks that all stand on one connection, and are all taken again when it is lost.

    A named lock is re-entrant in its session, on every server: so the registry `held`, and not the server, tells that
    this engine holds a lock already.
    """

    held: "dict[str | int, SharedLock]"
    _connection: LockConnection | None = None

    @property
    def size(self) -> int:
        """One, and one more while a lost one is being closed."""
        return 2

    @property
    def connections(self) -> list[LockConnection]:
        """The one, when it is open."""
        return [] if self._connection is None else [self._connection]

    async def open(self) -> None:
        """Begin without a lock."""
        self.held = {}
        self._connecting = asyncio.Lock()
        self._taking: Gathering[SharedLock, bool] = Gathering(self._take, self.database.log, MOST)
        self._freeing: Gathering[_Locked, None] = Gathering(self._free, self.database.log, MOST)
        await super().open()

    async def close(self) -> None:
        """Close the connection, and with it whatever it still holds."""
        try:
            if self._connection is not None:
                await self._connection.drop()
        finally:
            await super().close()

    async def take(self, workflow_id: int) -> "SharedLock | None":
        """Try to lock a workflow, without waiting; None when it is held, here or elsewhere."""
        key = self.key(workflow_id)
        if self.registered(key):
            return None
        lock = self.held[key] = SharedLock(self, key)
        got: bool | None = False
        try:
            got = await self._asked_for(lock)
            if got is None:
                got = await self.database.retried(lambda: self.acquire(lock), unseen=True)
        finally:
            if not got:
                # A caller that was cancelled may have got it all the same.
                await to_the_end(lock.release())
        return lock if got else None

    def registered(self, key: str | int) -> bool:
        """Tell whether this engine holds a lock, or is about to."""
        return key in self.held

    async def acquire(self, lock: "SharedLock") -> bool:
        """Lock on the connection; raises what kept it from that."""
        if (got := await self._asked_for(lock)) is None:
            (got,) = await to_the_end(self._take([lock]))
        return got

    async def _asked_for(self, lock: "SharedLock") -> bool | None:
        """Lock together with others, None where that failed; a cancellation is delivered when it is over."""
        cancelled: list[bool] = []
        got = await self._taking.ask(lock.key, lock, on_cancel=lambda: cancelled.append(True))
        if cancelled:
            raise asyncio.CancelledError
        return got

    async def _take(self, locks: "Sequence[SharedLock]") -> list[bool]:
        connection = await self._connected()
        answers = await connection.ask(self.server.take, [lock.key for lock in locks], self.limit)
        for lock, got in zip(locks, answers, strict=True):
            if got:
                lock.connection, lock.is_lost = connection, False
                if connection.ended.is_set():
                    lock.lose()
        return answers

    async def free(self, lock: "SharedLock") -> None:
        """Unlock, together with others; it is not cut off."""
        connection, lock.connection = lock.connection, None
        if connection is not None:
            await self._freeing.ask(lock.key, (connection, lock.key), on_cancel=lambda: None)
        # Only now may another run of this engine ask for it: in one session, asking twice succeeds.
        del self.held[lock.key]

    async def _free(self, locks: Sequence[_Locked]) -> list[None]:
        """Unlock; a connection that does not say so is ended, and the other locks are taken again."""
        for connection in {connection for connection, _ in locks}:
            keys = [key for each, key in locks if each is connection]
            # Where that fails the session is ended, and its locks with it.
            with suppress(*FAILURES):
                if not all(await connection.ask(self.server.release, keys, self.limit)):
                    connection.end()
        return [None] * len(locks)

    async def _connected(self) -> LockConnection:
        async with self._connecting:
            connection = self._connection
            if connection is None or connection.ended.is_set():
                self._connection = None
                if connection is not None:
                    await connection.drop()
                connection = self._connection = await self.connect(self._lost)
            return connection

    def _lost(self) -> None:
        for lock in tuple(self.held.values()):
            if lock.connection is not None and lock.connection.ended.is_set():
                lock.lose()


class SharedLock(Held):
    """One named lock on the connection of all; what is asked there is never cut off, for the sake of the others."""

    def __init__(self, locks: SharedLocks, key: str | int) -> None:
        """Not locked yet."""
        super().__init__()
        self.key = key
        self.connection: LockConnection | None = None
        self._locks = locks

    async def acquire(self) -> bool:
        """Lock; False when some other session has the lock."""
        return await self._locks.acquire(self)

    async def regain(self) -> bool:
        """Lock again; False when some other session has the lock."""
        return not self.is_lost or await self.acquire()

    async def release(self) -> None:
        """Give the lock back."""
        self.forget()
        await self._locks.free(self)
