"""SQLite's thread gets a statement once, and rows come back however many they are."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from awfe.persistence.closing import connect_sqlite
from awfe.persistence.handover import Connection

MANY = 1000
NUMBERS = text(f"WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {MANY}) SELECT x FROM n")


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of what is handed over."""
    names: list[str] = []
    do = Connection.do

    async def noted(self: Connection, function: Any, *given: Any) -> Any:
        names.append(function.__name__)
        return await do(self, function, *given)

    monkeypatch.setattr(Connection, "do", noted)
    return names


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[AsyncConnection]:
    """Yield a connection to a table that holds 1 and 2."""
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{tmp_path}/x.db", connect_args={"async_creator_fn": connect_sqlite}
    )
    async with engine.connect() as made:
        await made.execute(text("CREATE TABLE t (x INTEGER PRIMARY KEY)"))
        await made.execute(text("INSERT INTO t VALUES (:x)"), [{"x": 1}, {"x": 2}])
        await made.commit()
        yield made
    await engine.dispose()


async def test_a_statement_is_handed_over_once(connection: AsyncConnection, done: list[str]) -> None:
    assert (await connection.execute(text("SELECT x FROM t"))).scalars().all() == [1, 2]
    assert (await connection.execute(text("UPDATE t SET x = x + 10"))).rowcount == 2
    await connection.execute(text("INSERT INTO t VALUES (:x)"), [{"x": 21}, {"x": 22}])
    assert done == ["_run"] * 3


async def test_a_transaction_begins_with_its_first_statement(
    connection: AsyncConnection, done: list[str], tmp_path: Path
) -> None:
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, Connection)
    driver.isolation_level = None
    driver.begin("BEGIN IMMEDIATE")
    assert not driver.in_transaction
    await connection.execute(text("SELECT x FROM t"))
    assert driver.in_transaction
    assert done == ["_run"]
    with closing(sqlite3.connect(tmp_path / "x.db", timeout=0)) as other, pytest.raises(sqlite3.OperationalError):
        other.execute("BEGIN IMMEDIATE")


async def test_what_could_not_begin_is_not_done_outside_a_transaction(
    connection: AsyncConnection, tmp_path: Path
) -> None:
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, Connection)
    driver.isolation_level = None
    await connection.execute(text("PRAGMA busy_timeout = 0"))
    driver.begin("BEGIN IMMEDIATE")
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            with pytest.raises(OperationalError, match="locked"):
                await connection.execute(text("SELECT x FROM t"))
    await connection.execute(text("SELECT x FROM t"))
    assert driver.in_transaction


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_what_ends_before_its_first_statement_never_began(connection: AsyncConnection, end: str) -> None:
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, Connection)
    driver.isolation_level = None
    driver.begin("BEGIN IMMEDIATE")
    await getattr(driver, end)()
    await connection.execute(text("SELECT x FROM t"))
    assert not driver.in_transaction


async def test_of_a_returning_statement_the_count_is_known(connection: AsyncConnection) -> None:
    result = await connection.execute(text("UPDATE t SET x = x + 10 RETURNING x"))
    assert (result.scalars().all(), result.rowcount) == ([11, 12], 2)


async def test_the_rest_of_many_rows_is_fetched(connection: AsyncConnection, done: list[str]) -> None:
    assert (await connection.execute(NUMBERS)).scalars().all() == list(range(1, MANY + 1))
    assert done == ["_run", "_fetch"]


async def test_rows_are_streamed(connection: AsyncConnection) -> None:
    async with connection.stream(NUMBERS) as result:
        assert await result.fetchone() == (1,)
        assert await result.fetchmany(2) == [(2,), (3,)]
        assert [x async for (x,) in result] == list(range(4, MANY + 1))
        assert await result.fetchone() is None


async def test_who_has_seen_enough_leaves_no_cursor(connection: AsyncConnection) -> None:
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, Connection)
    cursor = await driver.cursor().execute(f"SELECT t.x FROM t, ({NUMBERS.text})")
    assert await cursor.fetchone() == (1,)
    # While a cursor still reads it can't be dropped.
    with pytest.raises(OperationalError, match="locked"):
        await connection.execute(text("DROP TABLE t"))
    await cursor.close()
    await connection.execute(text("DROP TABLE t"))


async def test_a_statement_that_fails_leaves_no_cursor(connection: AsyncConnection) -> None:
    with pytest.raises(IntegrityError):
        await connection.execute(text("INSERT INTO t VALUES (1)"))
    await connection.rollback()
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, Connection)
    cursor = driver.cursor()
    with pytest.raises(sqlite3.OperationalError, match="decode"):
        await cursor.execute("SELECT CASE x WHEN 1 THEN 'a' ELSE CAST(x'ff' AS TEXT) END FROM t")
    await connection.execute(text("DROP TABLE t"))
    assert cursor.description is not None, "it lives on, and reads no more"


async def test_its_own_cursor_is_as_aiosqlites(connection: AsyncConnection) -> None:
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, Connection)
    async with driver.cursor() as cursor:
        await cursor.execute("SELECT x FROM t")
        assert [row async for row in cursor] == [(1,), (2,)]
        assert (await cursor.fetchmany(), await cursor.fetchall()) == ([], [])
        await cursor.execute("SELECT 1")
        await cursor.execute("SELECT ?", (2,))
        assert await cursor.fetchall() == [(2,)], "what was not fetched of another statement is gone"
        await cursor.execute("SELECT 1")
        await cursor.executescript("CREATE TABLE u (x INTEGER); DROP TABLE t")
        assert (cursor.description, await cursor.fetchone()) == (None, None)
    cursor = await driver.cursor()
    await cursor.execute("SELECT 1")
    await cursor.close()
    assert await cursor.fetchone() is None


async def test_who_is_cancelled_while_rows_are_fetched_may_ask_again(connection: AsyncConnection) -> None:
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, Connection)
    cursor = await driver.cursor().execute(NUMBERS.text)
    task = asyncio.create_task(cursor.fetchall())
    await asyncio.sleep(0)
    task.cancel()
    assert await cursor.fetchall() == list(zip(range(1, MANY + 1), strict=True))


async def test_on_a_closed_connection_it_is_refused(connection: AsyncConnection) -> None:
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None
    await driver.close()
    with pytest.raises(OperationalError, match=r"[Cc]onnection"):
        await connection.execute(text("SELECT 1"))
    await connection.invalidate()
