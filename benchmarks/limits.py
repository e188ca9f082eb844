"""What a database can do at most: commits of one row by its raw driver, and of many rows in one transaction."""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import URL, make_url

from benchmarks.figures import Figure, measuring

_SECONDS = 2.0
_TABLE = "CREATE TABLE awfe_limit (id INTEGER PRIMARY KEY, state VARCHAR(16), context VARCHAR(400))"
_ROW = "INSERT INTO awfe_limit VALUES ({}, 'pending', '')"
_UPDATE = "UPDATE awfe_limit SET state = {0}, context = {0} WHERE id = {0}"
# About what a step's change and its place in the workflow weigh.
_CONTEXT = '{"n": %d, "note": "' + "x" * 200 + '"}'

Row = tuple[str, str, int]


class _Client(NamedTuple):
    """A connection: what runs a statement, what commits a row, what commits many, and what closes it."""

    run: Callable[[str], Awaitable[Any]]
    commit: Callable[[Row], Awaitable[Any]]
    commit_all: Callable[[Sequence[Row]], Awaitable[Any]]
    close: Callable[[], Awaitable[Any]]


async def commits(url: str, clients: int, rows: int = 1) -> Figure:
    """Let so many clients commit, each one transaction after the other, of so many rows; returns rows."""
    parsed = make_url(url)
    opened = [await _CLIENTS[parsed.get_backend_name()](parsed) for _ in range(clients)]
    await opened[0].run(_TABLE)
    for number in range(clients * rows):
        await opened[0].run(_ROW.format(number))
    with measuring() as figure:
        until = time.perf_counter() + _SECONDS
        done = await asyncio.gather(*(_go_on(client, n * rows, rows, until) for n, client in enumerate(opened)))
    figure.count = sum(done)
    for client in opened:
        await client.close()
    return figure


async def _go_on(client: _Client, first: int, rows: int, until: float) -> int:
    done = 0
    while time.perf_counter() < until:
        if rows == 1:
            await client.commit(("running", _CONTEXT % done, first))
        else:
            await client.commit_all([("running", _CONTEXT % done, first + n) for n in range(rows)])
        done += rows
    return done


async def _sqlite(url: URL) -> _Client:
    connection = sqlite3.connect(str(url.database), isolation_level=None)
    for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL"):
        connection.execute(statement)
    update = _UPDATE.format("?")

    async def run(statement: str) -> None:
        connection.execute(statement)

    async def commit(row: Row) -> None:
        connection.execute(update, row)

    async def commit_all(rows: Sequence[Row]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(update, rows)
        connection.execute("COMMIT")

    async def close() -> None:
        connection.close()

    return _Client(run, commit, commit_all, close)


async def _mysql(url: URL) -> _Client:
    import aiomysql  # noqa: PLC0415 - one driver for each database

    connection = await aiomysql.connect(
        host=url.host, port=url.port, user=url.username, password=url.password or "", db=url.database, autocommit=True
    )
    cursor = await connection.cursor()
    update = _UPDATE.format("%s")

    async def commit(row: Row) -> None:
        await cursor.execute(update, row)

    async def commit_all(rows: Sequence[Row]) -> None:
        # The one form of many rows that its driver sends as one statement.
        await cursor.executemany(
            "INSERT INTO awfe_limit (state, context, id) VALUES (%s, %s, %s)"
            " ON DUPLICATE KEY UPDATE state = VALUES(state), context = VALUES(context)",
            rows,
        )

    return _Client(cursor.execute, commit, commit_all, connection.ensure_closed)


async def _postgresql(url: URL) -> _Client:
    import asyncpg  # noqa: PLC0415 - one driver for each database

    connection = await asyncpg.connect(
        host=url.host, port=url.port, user=url.username, password=url.password, database=url.database
    )
    update = "UPDATE awfe_limit SET state = $1, context = $2 WHERE id = $3"
    many = (
        "UPDATE awfe_limit AS w SET state = v.state, context = v.context"
        " FROM unnest($1::text[], $2::text[], $3::integer[]) AS v(state, context, id) WHERE w.id = v.id"
    )

    async def commit(row: Row) -> None:
        await connection.execute(update, *row)

    async def commit_all(rows: Sequence[Row]) -> None:
        await connection.execute(many, *map(list, zip(*rows, strict=True)))

    return _Client(connection.execute, commit, commit_all, connection.close)


_CLIENTS = {"sqlite": _sqlite, "mysql": _mysql, "postgresql": _postgresql}
