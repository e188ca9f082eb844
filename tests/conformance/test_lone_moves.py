"""A lone move goes to the server once: its statements and their COMMIT together, each conditional on the one before."""

import sqlite3
from collections.abc import Callable
from typing import Any

import aiomysql
import aiosqlite
import asyncpg
import pytest
from asyncpg.prepared_stmt import PreparedStatement
from sqlalchemy import Connection, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from awfe import AwfeError, Engine, LockLost
from awfe.testing.calls import Call, Calls
from awfe.testing.invariants import violations
from tests.conformance.steps import Hold, Note, World
from tests.conformance.test_batches import ALONE, TAKEN, completed, held, kinds, open_watched
from tests.databases import Database

# What each driver calls once for each way to the server, or to SQLite's thread, and back.
WAYS: dict[str, list[tuple[Any, str]]] = {
    "sqlite": [(aiosqlite.Connection, "_execute")],
    "mysql": [(aiomysql.Connection, "_execute_command")],
    "postgresql": [(asyncpg.Connection, "execute"), (PreparedStatement, "fetch")],
}
ROW = "SELECT rev, (SELECT COUNT(*) FROM awfe_attempt a WHERE a.workflow_id = w.id) FROM awfe_workflow w"
TAKES = (
    "INSERT INTO awfe_attempt (workflow_id, position, attempt, rev, run_token, outcome, {before}, {after}, started_at, "
    "ended_at, changes, output) SELECT id, 1, 1, 99, 1, 'completed', 'running', 'running', created_at, created_at, "
    "'{{}}', '' FROM awfe_workflow"
)


@pytest.fixture
def ways(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note each way to the database and back, of all connections."""
    noted: list[str] = []

    def noting(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*given: Any, **options: Any) -> Any:
            noted.append(name)
            return await real(*given, **options)

        return call

    for kind, name in WAYS[database.dialect]:
        monkeypatch.setattr(kind, name, noting(name, getattr(kind, name)))
    return noted


async def test_the_end_of_a_lone_step_is_one_way_there_and_back(
    database: Database, world: World, ways: list[str]
) -> None:
    steps = 20
    engine, calls = await open_watched(database)
    async with engine:
        await engine.create_workflow("w", {}, [Hold("w"), *(Note(str(n), {"n": n}) for n in range(steps)), Hold("end")])
        handle = await engine.start("w")
        await world.entered["w"].wait()
        ways.clear()
        calls.clear()
        world.gates["w"].set()
        await world.entered["end"].wait()
        assert len(ways) == steps + 1
        assert kinds(calls) == [kinds(calls)[0], "commit"] * (steps + 1)
        world.gates["end"].set()
        assert (await handle).state == "completed"
    assert await violations(database.url) == []


@pytest.mark.parametrize("by", TAKEN)
async def test_a_lone_move_that_is_fenced_writes_nothing(database: Database, world: World, by: str) -> None:
    engine, calls = await open_watched(database)
    async with engine:
        handles = await held(engine, world, ["w"])
        await database.execute(f"UPDATE awfe_workflow SET {TAKEN[by]}")
        calls.clear()
        world.gates["all"].set()
        with pytest.raises(LockLost):
            await handles["w"]
        assert kinds(calls)[2:4] == ["UPDATE", "SELECT"], "the request, and then who it was"
    assert await database.execute(ROW) == [(1, 0)], "it has the revision of its claim"


async def test_a_lone_move_is_stored_as_a_whole_or_not(database: Database, world: World) -> None:
    async with Engine(database.url, **ALONE) as engine:
        handles = await held(engine, world, ["w"])
        quote = "`" if database.dialect == "mysql" else '"'
        before, after = (f"{quote}{name}{quote}" for name in ("before", "after"))
        await database.execute(TAKES.format(before=before, after=after))
        world.gates["all"].set()
        with pytest.raises(AwfeError, match=r"awfe_attempt|[Dd]uplicate"):
            await handles["w"]
        assert engine._database.takes_requests, "it was the row that was refused, and not the request"
        assert await database.execute(ROW) == [(1, 1)], "its head had been changed before its row was refused"
        assert await database.execute("SELECT state, position, attempt FROM awfe_workflow") == [("running", 1, 1)]


async def test_through_a_callers_engine_each_statement_goes_by_itself(database: Database, world: World) -> None:
    given = create_async_engine(database.url)
    engine = Engine(given, **ALONE)
    calls = Calls(engine)
    async with engine:
        handles = await held(engine, world, ["w"])
        calls.clear()
        world.gates["all"].set()
        assert (await handles["w"]).state == "completed"
        told = [kind for kind in kinds(calls) if kind in ("UPDATE", "INSERT", "commit")]
        assert told[:3] == ["UPDATE", "INSERT", "commit"]
    await given.dispose()
    assert await violations(database.url) == []


async def test_where_requests_are_refused_each_statement_goes_by_itself(
    database: Database, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    engine, calls = await open_watched(database)

    def refuse(call: Call) -> None:
        if "UPDATE" in call.statement and "INSERT" in call.statement:
            msg = "one statement at a time"
            raise sqlite3.ProgrammingError(msg)

    async with engine:
        calls.before = refuse
        handles = await held(engine, world, ["w"])
        calls.clear()
        world.gates["all"].set()
        await completed(handles, ["w"])
        told = [kind for kind in kinds(calls) if kind in ("UPDATE", "INSERT", "WITH", "commit")]
        assert told[:3] == ["UPDATE", "INSERT", "commit"], "it was tried once, with the claim"
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.endswith(
        "one statement at a time, which does not take several statements as one request: it is slower"
    )
    assert await violations(database.url) == []


@pytest.mark.databases("postgresql")
async def test_a_request_has_settings_of_awfes_own(database: Database) -> None:
    """It is in no transaction that could bring them."""
    name = make_url(database.url).database
    wanted = {"transaction_isolation": "read committed", "tcp_keepalives_idle": "30", "lock_timeout": "10s"}
    await database.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    try:
        async with Engine(database.url, **ALONE) as engine:

            def shown(connection: Connection) -> dict[str, str]:
                return {each: connection.execute(text(f"SHOW {each}")).scalar_one() for each in wanted}

            assert await engine._database.request(shown) == wanted
    finally:
        await database.execute(f"ALTER DATABASE {name} RESET default_transaction_isolation")


@pytest.mark.databases("postgresql")
async def test_a_request_on_a_connection_that_was_lost_goes_over_another(database: Database) -> None:
    """It is found out when the connection is told that there is no transaction, as it believes that there is one."""
    async with Engine(database.url, **ALONE) as engine:
        lost = await engine._database.engine.connect()
        await lost.execute(text("SELECT 1"))
        with pytest.MonkeyPatch.context() as patches:
            patches.setattr(
                lost.sync_engine.dialect, "do_commit", lambda adapted: adapted.driver_connection.terminate()
            )
            await lost.commit()
            patches.setattr(lost.sync_engine.dialect, "do_rollback", lambda _adapted: None)
            await lost.close()
        assert await engine._database.request(lambda connection: connection.execute(text("SELECT 2")).scalar()) == 2
