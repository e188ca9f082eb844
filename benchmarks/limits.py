"""What a database can do at most: commits of one row by its raw driver, one after the other, on one connection."""

import sqlite3
import time
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import URL, make_url

_TABLE = "CREATE TABLE awfe_limit (id INTEGER PRIMARY KEY, state VARCHAR(16), context VARCHAR(400))"
_ROW = "INSERT INTO awfe_limit VALUES (1, 'pending', '')"
_UPDATE = "UPDATE awfe_limit SET state = {0}, context = {0} WHERE id = {0}"
# About what a step's change and its place in the workflow weigh.
_CONTEXT = '{"n": %d, "note": "' + "x" * 200 + '"}'

Commit = Callable[[str], Awaitable[Any]]


async def commits_per_second(url: str, seconds: float) -> float:
    """Return how many commits of one changed row were acknowledged per second."""
    parsed = make_url(url)
    commit, close = await _BY_KIND[parsed.get_backend_name()](parsed)
    try:
        done, began = 0, time.perf_counter()
        while (took := time.perf_counter() - began) < seconds:
            await commit(_CONTEXT % done)
            done += 1
    finally:
        await close()
    return done / took


async def _sqlite(url: URL) -> tuple[Commit, Callable[[], Awaitable[Any]]]:
    connection = sqlite3.connect(str(url.database), isolation_level=None)
    for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", _TABLE, _ROW):
        connection.execute(statement)
    update = _UPDATE.format("?")

    async def commit(context: str) -> None:
        connection.execute(update, ("running", context, 1))

    async def close() -> None:
        connection.close()

    return commit, close


async def _mysql(url: URL) -> tuple[Commit, Callable[[], Awaitable[Any]]]:
    import aiomysql  # noqa: PLC0415 - one driver for each database

    connection = await aiomysql.connect(
        host=url.host, port=url.port, user=url.username, password=url.password or "", db=url.database, autocommit=True
    )
    cursor = await connection.cursor()
    for statement in (_TABLE, _ROW):
        await cursor.execute(statement)
    update = _UPDATE.format("%s")

    async def commit(context: str) -> None:
        await cursor.execute(update, ("running", context, 1))

    return commit, connection.ensure_closed


async def _postgresql(url: URL) -> tuple[Commit, Callable[[], Awaitable[Any]]]:
    import asyncpg  # noqa: PLC0415 - one driver for each database

    connection = await asyncpg.connect(
        host=url.host, port=url.port, user=url.username, password=url.password, database=url.database
    )
    for statement in (_TABLE, _ROW):
        await connection.execute(statement)
    update = await connection.prepare("UPDATE awfe_limit SET state = $1, context = $2 WHERE id = $3")

    async def commit(context: str) -> None:
        await update.fetch("running", context, 1)

    return commit, connection.close


_BY_KIND = {"sqlite": _sqlite, "mysql": _mysql, "postgresql": _postgresql}
