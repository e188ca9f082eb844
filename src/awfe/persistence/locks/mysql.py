"""Locks of MySQL and MariaDB: GET_LOCK; and bells: a connection that is killed."""

import math
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

from sqlalchemy import TextClause, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from awfe.persistence import faults
from awfe.persistence.locks.connection import LockConnection

_NO_SUCH_THREAD: Final = 1094
_HANG_LIMIT: Final = 10.0


class MySQL:
    """Named locks are server-wide, so the name holds a hash over the database's own id; 64 characters is the limit."""

    take = "GET_LOCK({}, 0)"
    release = "RELEASE_LOCK({})"
    look: TextClause = text("SELECT IS_USED_LOCK(:key)")

    def key(self, instance: str, workflow_id: int) -> str:
        """Return the name of a workflow's lock."""
        return "awfe:" + blake2b(f"{instance}:{workflow_id}".encode(), digest_size=24).hexdigest()

    def prepare(self, connection: Any, limit: float) -> None:
        """Make the server close a lock connection that is silent for too long."""
        cursor = connection.cursor()
        cursor.execute(f"SET SESSION wait_timeout = {math.ceil(limit)}")
        cursor.close()

    def watch(self, driver_connection: Any, on_end: Callable[[], None]) -> Callable[[], None]:
        """Call back when the stream ends: aiomysql has no listener for it, asyncio's reader is told first.

        Returns what ends the watch.
        """
        reader = driver_connection._reader  # noqa: SLF001 - see above
        feed_eof, set_exception = type(reader).feed_eof, type(reader).set_exception

        def ended() -> None:
            feed_eof(reader)
            on_end()

        def broken(error: Exception) -> None:
            set_exception(reader, error)
            on_end()

        def unwatch() -> None:
            del reader.feed_eof, reader.set_exception

        reader.feed_eof, reader.set_exception = ended, broken
        return unwatch

    async def beat(self, connection: AsyncConnection, _driver: Any) -> None:
        """Ask: a command is one packet, and the server's limit for silence holds within it too."""
        await connection.exec_driver_sql("SELECT 1")

    def bell(self, instance: str, owner: str) -> str:
        """Return the name of an engine's bell."""
        return "awfe:bell:" + blake2b(f"{instance}:{owner}".encode(), digest_size=20).hexdigest()

    async def hang(self, connection: LockConnection, bell: str, on_ring: Callable[[], None]) -> None:  # noqa: ARG002 - the end of the connection is the ring
        """Hold a lock of the bell's name: who rings kills this connection."""
        await connection.ask(self.take, [bell], _HANG_LIMIT)

    async def ring(self, connection: AsyncConnection, bell: str) -> None:
        """Kill the connection that holds the bell's lock; only its own user may, and a superuser."""
        holder = (await connection.execute(self.look, {"key": bell})).scalar()
        if holder is None:
            return
        try:
            await connection.execute(text(f"KILL {int(holder)}"))
        except DBAPIError as error:
            if faults.code_of(error) != _NO_SUCH_THREAD:
                raise
