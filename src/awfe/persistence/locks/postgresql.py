"""Locks of PostgreSQL: session-level advisory locks; and bells: LISTEN and NOTIFY."""

import math
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from awfe.persistence.locks.connection import LockConnection

_SILENT: Final = """
SELECT set_config('idle_session_timeout', '{}s', false) WHERE current_setting('server_version_num')::int >= 140000
"""
_NOTIFY: Final = text("SELECT pg_notify(:channel, '')")


class PostgreSQL:
    """Advisory locks belong to one database and are named by 64 bits; `pg_locks` shows these in two halves."""

    take = "pg_try_advisory_lock({})"
    release = "pg_advisory_unlock({})"
    look: TextClause = text(
        "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND ((CAST(classid AS bigint) << 32) | CAST(objid AS bigint)) = CAST(:key AS bigint))"
    )

    def key(self, instance: str, workflow_id: int) -> int:
        """Return the name of a workflow's lock."""
        digest = blake2b(f"{instance}:{workflow_id}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, signed=True)

    def prepare(self, connection: Any, limit: float) -> None:
        """Make the server close a lock connection that is silent for too long; PostgreSQL 13 can't."""
        connection.run_async(lambda driver: driver.execute(_SILENT.format(math.ceil(limit))))

    def watch(self, driver_connection: Any, on_end: Callable[[], None]) -> Callable[[], None]:
        """Call back when the connection ends; returns what ends the watch."""

        def ended(_connection: Any) -> None:
            on_end()

        driver_connection.add_termination_listener(ended)
        return lambda: driver_connection.remove_termination_listener(ended)

    async def beat(self, _connection: AsyncConnection, driver: Any) -> None:
        """Ask in one message.

        Of the extended protocol's several the last may be missing; `idle_session_timeout` does not count the wait for
        it, since the server is within a statement then.
        """
        await driver.execute("SELECT 1")

    def bell(self, instance: str, owner: str) -> str:
        """Return the channel of an engine; an identifier has at most 63 bytes."""
        return "awfe_" + blake2b(f"{instance}:{owner}".encode(), digest_size=20).hexdigest()

    async def hang(self, connection: LockConnection, bell: str, on_ring: Callable[[], None]) -> None:
        """Listen on the bell's channel."""

        def heard(_connection: Any, _pid: int, _channel: str, _payload: str) -> None:
            on_ring()

        await connection.driver.add_listener(bell, heard)

    async def ring(self, connection: AsyncConnection, bell: str) -> None:
        """Notify the bell's channel."""
        await connection.execute(_NOTIFY, {"channel": bell})
