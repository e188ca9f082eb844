"""What is done once, when a database is opened: the tables come to be, and the server says what it can carry."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from awfe.persistence import schema
from awfe.shielding import to_the_end

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
    async with _connected(engine) as connection:
        version = await connection.run_sync(schema.version_of)
        await connection.rollback()
        if version is None:
            await _create(connection, kind)
    async with _connected(engine) as connection:
        row = (await connection.execute(_META)).one()
        limits = await _limits(connection, kind)
        await connection.rollback()
    return Found(row.version, row.instance, *limits)


@asynccontextmanager
async def _connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    # SQLAlchemy's own context manager closes in a task which a loop that goes down cancels before it begins.
    connection = await engine.connect()
    try:
        yield connection
    finally:
        await to_the_end(connection.close())


async def _limits(connection: AsyncConnection, kind: str) -> tuple[int, int]:
    if kind == "sqlite":
        return sys.maxsize, sys.maxsize
    connections, statement_bytes = (await connection.execute(text(_LIMITS[kind]))).one()
    return int(connections), int(statement_bytes)


async def _create(connection: AsyncConnection, kind: str) -> None:
    """Create the tables under a lock of their own, since several engines may come to an empty database."""
    if kind == "mysql":
        await _create_on_mysql(connection)
        return
    if kind == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('awfe:schema'))"))
    await connection.run_sync(schema.create)
    await connection.commit()


async def _create_on_mysql(connection: AsyncConnection) -> None:
    # Only ever tried, never waited for: crossed waits are deadlocks. Its DDL can't be rolled back.
    key = {"key": f"awfe:schema:{connection.engine.url.database}"[:64]}
    taken = False
    while not taken:
        taken = bool((await connection.execute(text("SELECT GET_LOCK(:key, 0)"), key)).scalar())
        await asyncio.sleep(0 if taken else _PAUSE)
    try:
        await connection.run_sync(schema.create)
        await connection.commit()
    except BaseException:
        # The end of the session frees the lock, in whatever state it is.
        await connection.invalidate()
        raise
    await connection.execute(text("SELECT RELEASE_LOCK(:key)"), key)
    await connection.rollback()
