"""A schema that is newer, not whole or made by many at once, and a database that is shared with others."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from awfe import (
    Context,
    Engine,
    SchemaOutdated,
    step,
)
from awfe.testing import Calls, Fault, Faults
from tests.conformance.conftest import QUICK
from tests.conformance.steps import Note
from tests.conformance.tables import drop_all
from tests.databases import Database


async def test_a_newer_schema_is_refused_and_says_so(database: Database) -> None:
    async with Engine(database.url):
        pass
    await database.execute("UPDATE awfe_meta SET version = 99")
    with pytest.raises(SchemaOutdated, match="upgrade awfe"):
        await Engine(database.url).open()
    await database.execute("UPDATE awfe_meta SET version = 0")
    with pytest.raises(SchemaOutdated, match="run 'awfe db upgrade'"):
        await Engine(database.url).open()
    assert await database.sessions(settle=5) == []


async def test_a_half_made_schema_is_completed(database: Database) -> None:
    async with Engine(database.url) as engine:
        await engine.create_workflow("w", {}, [Note("one")])
    for statement in ("DROP VIEW awfe_step_state", "DROP TABLE awfe_tombstone", "DELETE FROM awfe_meta"):
        await database.execute(statement)
    drop = "DROP INDEX awfe_event_by_workflow"
    await database.execute(drop + (" ON awfe_event" if database.dialect == "mysql" else ""))
    async with Engine(database.url) as engine:
        assert (await engine.run("w")).state == "completed"
        await engine.delete("w")
        assert len(await engine.deleted()) == 1
    assert await database.execute("SELECT version FROM awfe_meta") == [(1,)]


async def test_tables_whose_commit_fails_are_made_again(database: Database) -> None:
    """Its connection is still in the middle of that transaction, and sees tables that nobody else does."""
    engine = Engine(database.url, **QUICK)
    calls = Calls(engine)
    async with engine:
        pass
    commit = next(call.number for call in calls.log if call.kind == "commit")
    await drop_all(database)
    engine = Engine(database.url, **QUICK)
    faults = Faults(Calls(engine), Fault.LOCK_TIMEOUT, commit, 1)
    async with engine:
        await engine.create_workflow("w", {}, [Note("one")])
    assert faults.hits == 1
    assert await database.sessions(settle=5) == []


async def test_many_engines_create_the_schema_at_once(database: Database) -> None:
    engines = [Engine(database.url, **QUICK) for _ in range(6)]
    await asyncio.gather(*(engine.open() for engine in engines))
    assert len({engine._database.instance for engine in engines}) == 1
    await asyncio.gather(*(engine.create_workflow(f"w{n}", {}, [Note("one")]) for n, engine in enumerate(engines)))
    assert len(await engines[0].list()) == 6
    await asyncio.gather(*(engine.close() for engine in engines))
    assert await database.execute("SELECT COUNT(*) FROM awfe_meta") == [(1,)]


async def test_the_database_holds_the_invariants_too(engine: Engine, database: Database) -> None:
    await engine.create_workflow("w", {}, [Note("one")])
    for bad in (
        "state = 'asleep'",
        "step_state = 'asleep'",
        "request = 'hurry'",
        "ended_at = CURRENT_TIMESTAMP",
        "state = 'completed'",
        "position = NULL",
        "attempt_started_at = CURRENT_TIMESTAMP",
        "request = 'pause'",
    ):
        with pytest.raises(Exception, match=r"(?i)constraint"):
            await database.execute(f"UPDATE awfe_workflow SET {bad}")


@step
async def where(ctx: Context) -> None:
    """Do a little."""
    ctx["ran"] = True


async def test_an_engine_of_the_caller_stays_his(database: Database) -> None:
    """Its events, pool and disposal are not touched; its way to connect and its listeners are used."""
    theirs = create_async_engine(database.url, poolclass=NullPool)
    connected: list[Any] = []
    event.listen(theirs.sync_engine, "connect", lambda connection, _record: connected.append(connection))
    async with theirs.connect():
        pass
    listeners = len(list(theirs.sync_engine.pool.dispatch.connect))
    connected.clear()
    async with Engine(theirs) as engine:
        assert connected
        await engine.create_workflow("w", {}, [where])
        assert (await engine.run("w")).context == {"ran": True}
        assert isinstance(theirs.sync_engine.pool, NullPool)
    assert len(list(theirs.sync_engine.pool.dispatch.connect)) == listeners
    async with theirs.connect() as connection:
        await connection.exec_driver_sql("SELECT 1")
    await theirs.dispose()
    assert await database.sessions(settle=5) == []


async def test_it_lives_beside_the_tables_of_an_application(database: Database) -> None:
    await database.execute("CREATE TABLE workflow (id INT PRIMARY KEY)")
    await database.execute("INSERT INTO workflow VALUES (1)")
    async with Engine(database.url) as engine:
        await engine.create_workflow("w", {}, [Note("one")])
        await engine.run("w")
        await engine.delete("w")
    assert await database.execute("SELECT id FROM workflow") == [(1,)]
