"""Locks of MySQL and MariaDB: GET_LOCK."""

import math
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from sqlalchemy import TextClause, text


class MySQL:
    """Named locks are server-wide, so the name holds a hash over the database's own id; 64 characters is the limit."""

    take: TextClause = text("SELECT GET_LOCK(:key, 0)")
    release: TextClause = text("SELECT RELEASE_LOCK(:key)")
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
