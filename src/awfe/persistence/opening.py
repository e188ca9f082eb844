"""What is done once, when a database is opened: the tables come to be, and the server says what it can carry."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from sqlalchemy import select, text
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from awfe.persistence import schema
from awfe.shielding import to_the_end

T = TypeVar("T")
_LIMITS: Final = {
    "mysql": "SELECT @@max_connections, @@max_allowed_packet",
    "postgresql": "SELECT current_setting('max_connections')::int, 1 << 29",
}
_META: Final = select(schema.meta.c.version, schema.meta.c.instance)
_PAUSE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Found:
    """A database that has the tables: of which version, whose, and how many connections and bytes it takes."""

    version: int
    instance: str
    connections: int
    statement_bytes: int


async def prepare(engine: AsyncEngine, kind: str) -> Found:
    """Create the tables when there are none, or not all; may be done again after any failure."""
    async with connected(engine) as connection:
        version = await connection.run_sync(schema.version_of)
        await connection.rollback()
        if version is None:
            await under_lock(connection, kind, schema.create)
    async with connected(engine) as connection:
        row = (await connection.execute(_META)).one()
        limits = await _limits(connection, kind)
        await connection.rollback()
    return Found(row.version, row.instance, *limits)


@asynccontextmanager
async def connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Yield a connection; after an error it is ended, since a COMMIT that fails may leave its transaction open."""
    # SQLAlchemy's own context manager closes in a task which a loop that goes down cancels before it begins.
    connection = await engine.connect()
    try:
        yield connection
    except BaseException:
        await to_the_end(connection.invalidate())
        raise
    finally:
        await to_the_end(connection.close())


async def _limits(connection: AsyncConnection, kind: str) -> tuple[int, int]:
    if kind == "sqlite":
        return sys.maxsize, sys.maxsize
    connections, statement_bytes = (await connection.execute(text(_LIMITS[kind]))).one()
    return int(connections), int(statement_bytes)


async def under_lock(connection: AsyncConnection, kind: str, change: Callable[[Connection], T]) -> T:
    """Change the tables and commit, under a lock of their own, since several engines may come to them at once."""
    if kind == "mysql":
        return await _under_named_lock(connection, change)
    if kind == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('awfe:schema'))"))
    changed = await connection.run_sync(change)
    await connection.commit()
    return changed


async def _under_named_lock(connection: AsyncConnection, change: Callable[[Connection], T]) -> T:
    # Only ever tried, never waited for: crossed waits are deadlocks. MySQL's DDL can't be rolled back.
    key = {"key": f"awfe:schema:{connection.engine.url.database}"[:64]}
    taken = False
    while not taken:
        taken = bool((await connection.execute(text("SELECT GET_LOCK(:key, 0)"), key)).scalar())
        await asyncio.sleep(0 if taken else _PAUSE)
    # After an error the end of the session frees it, in whatever state that is.
    changed = await connection.run_sync(change)
    await connection.commit()
    await connection.execute(text("SELECT RELEASE_LOCK(:key)"), key)
    await connection.rollback()
    return changed
