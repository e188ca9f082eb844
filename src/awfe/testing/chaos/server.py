"""What a chaos run does to, and asks, the database server behind the engines' backs."""

from collections.abc import Mapping
from contextlib import suppress
from random import Random
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from awfe import urls

_SESSIONS: Final = {
    "mysql": "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()",
    "postgresql": (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    ),
}
_KILL: Final = {"mysql": "KILL :session", "postgresql": "SELECT pg_terminate_backend(:session)"}
_RUN_BY: Final = "SELECT name, owner FROM awfe_workflow WHERE state = 'running' AND name LIKE :names"


class Server:
    """The server, or the file; each call takes a connection of its own."""

    def __init__(self, url: str) -> None:
        """Nothing is connected yet."""
        resolved = urls.resolve(url)
        self.kind = resolved.get_backend_name()
        self._engine = create_async_engine(resolved, poolclass=NullPool, isolation_level="AUTOCOMMIT")

    async def workflows(self) -> int:
        """Return how many workflows there are; 0 where awfe has no tables."""
        if not await self._has_tables():
            return 0
        (row,) = await self._rows("SELECT COUNT(*) FROM awfe_workflow")
        return int(row[0])

    async def cut(self, rng: Random) -> bool:
        """Kill one of the sessions of this database, whoever's it is; False when there was none to kill."""
        with suppress(SQLAlchemyError, OSError):
            if sessions := await self._rows(_SESSIONS[self.kind]):
                session = rng.choice(sorted(row[0] for row in sessions))
                await self._rows(_KILL[self.kind], {"session": session})
                return True
        return False

    async def run_by(self, pid: int, prefix: str) -> list[str]:
        """Return the names of the workflows that a process of this host runs, by their rows."""
        rows = await self._rows(_RUN_BY, {"names": f"{prefix}%"})
        return [row.name for row in rows if row.owner is not None and f":{pid}:" in row.owner]

    async def _has_tables(self) -> bool:
        async with self._engine.connect() as connection:
            return await connection.run_sync(lambda sync: sync.dialect.has_table(sync, "awfe_workflow"))

    async def _rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[Any]:
        async with self._engine.connect() as connection:
            result = await connection.execute(text(sql), parameters)
            return list(result) if result.returns_rows else []
