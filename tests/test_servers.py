"""The harness itself: what the other tests take for granted."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from tests.databases import Database, ServerDatabase


async def test_a_database_answers(database: Database) -> None:
    """What one call writes the next one reads, parameters and other alphabets included."""
    await database.execute("CREATE TABLE t (n INTEGER)")
    await database.execute("INSERT INTO t VALUES (:n)", {"n": 42})
    assert await database.execute("SELECT n FROM t") == [(42,)]
    assert database.url.startswith(f"{database.dialect}+aio") or "asyncpg" in database.url


async def test_a_session_is_seen_until_it_ends(database: Database) -> None:
    """A connection of somebody else counts, the helpers' own do not."""
    assert await database.sessions() == []
    engine = create_async_engine(database.url)
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        assert len(await database.sessions()) == 1
    await engine.dispose()
    assert await database.sessions(settle=5) == []


@pytest.mark.databases("mysql", "postgresql")
async def test_drop_does_not_wait_for_strays(database: ServerDatabase) -> None:
    """A session in the middle of a transaction does not keep the database alive."""
    await database.execute("CREATE TABLE t (n INTEGER)")
    engine = create_async_engine(database.url)
    async with engine.connect() as connection:
        await connection.execute(text("SELECT n FROM t"))
        async with asyncio.timeout(10):
            await database.drop()
        with pytest.raises(DBAPIError):
            await connection.execute(text("SELECT n FROM t"))
        await connection.invalidate()
    await engine.dispose()
    with pytest.raises(DBAPIError):
        await database.execute("SELECT 1")


def test_the_seed_is_told(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A failing random test can be repeated."""
    assert isinstance(seed, int)
    assert capsys.readouterr().out in {"", f"repeat with --seed {seed}\n"}
