"""Locks of PostgreSQL: session-level advisory locks."""

import math
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

from sqlalchemy import TextClause, text

_SILENT: Final = """
SELECT set_config('idle_session_timeout', '{}s', false) WHERE current_setting('server_version_num')::int >= 140000
"""


class PostgreSQL:
    """Advisory locks belong to one database and are named by 64 bits; `pg_locks` shows these in two halves."""

    take: TextClause = text("SELECT pg_try_advisory_lock(:key)")
    release: TextClause = text("SELECT pg_advisory_unlock(:key)")
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
