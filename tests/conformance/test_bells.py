"""A request from elsewhere rings the engine it is for; where nothing rings, the poll finds it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncConnection

from awfe import Engine, WorkflowHalted
from awfe.testing.proxy import Proxy
from tests.conformance.conftest import OpenEngine
from tests.conformance.helpers import hold
from tests.conformance.steps import World
from tests.databases import Database

NEVER = 3_600.0


async def hangs(engine: Engine, database: Database) -> None:
    """Return when an engine can be rung."""
    bell: Any = engine._crew.bell
    if database.dialect == "sqlite":
        assert bell._socket is not None
        return
    sql = {
        "mysql": "SELECT IS_USED_LOCK(:name) IS NOT NULL",
        "postgresql": "SELECT EXISTS (SELECT 1 FROM pg_stat_activity"
        " WHERE datname = current_database() AND query LIKE '%' || :name || '%' AND pid <> pg_backend_pid())",
    }[database.dialect]
    async with asyncio.timeout(20):
        while not (await database.execute(sql, {"name": bell._name}))[0][0]:
            await asyncio.sleep(0.01)


async def halted(task: asyncio.Task[object]) -> str:
    """Return the state in which a run was halted."""
    with pytest.raises(WorkflowHalted) as error:
        async with asyncio.timeout(30):
            await task
    return error.value.state


async def test_a_request_is_heard_at_once_however_long_the_poll_is(
    open_engine: OpenEngine, world: World, database: Database
) -> None:
    """Again and again on one engine, and no poll takes place."""
    engine, other = await open_engine(poll_interval=NEVER), await open_engine(poll_interval=NEVER)
    for n in range(5):
        name = f"w{n}"
        await hangs(engine, database)
        rings = engine._steering.lookout.rings
        task = await hold(engine, world, name)
        await (other.stop(name) if n % 2 else other.pause(name))
        world.gates[name].set() if not n % 2 else None
        assert await halted(task) == ("stopped" if n % 2 else "paused")
        assert engine._steering.lookout.rings > rings
    assert other._steering.lookout.rings == 0
    assert engine._steering.lookout.polls <= engine._steering.lookout.rings


async def test_without_a_bell_the_poll_finds_it(open_engine: OpenEngine, world: World, database: Database) -> None:
    engine, other = await open_engine(poll_interval=0.05), await open_engine()
    await hangs(engine, database)
    bell: Any = engine._crew.bell
    await bell.close()
    rings = engine._steering.lookout.rings
    task = await hold(engine, world)
    await other.stop("w")
    assert await halted(task) == "stopped"
    assert engine._steering.lookout.rings == rings


async def test_an_engine_without_runs_asks_the_database_nothing(engine: Engine, database: Database) -> None:
    await hangs(engine, database)
    engine._steering.lookout._ring()
    await asyncio.sleep(0.3)
    assert engine._steering.lookout.polls == 0


@pytest.mark.databases("mysql", "postgresql")
async def test_a_bell_whose_connection_is_killed_hangs_again(
    open_engine: OpenEngine, world: World, database: Database
) -> None:
    engine, other = await open_engine(poll_interval=NEVER), await open_engine()
    await hangs(engine, database)
    bell: Any = engine._crew.bell
    before = await _connection_of(database, bell._name)
    await database.execute(("KILL :id" if database.dialect == "mysql" else "SELECT pg_terminate_backend(:id)"), before)
    async with asyncio.timeout(20):
        while await _connection_of(database, bell._name) in ({"id": None}, before):
            await asyncio.sleep(0.01)
    task = await hold(engine, world)
    await other.stop("w")
    assert await halted(task) == "stopped"


async def _connection_of(database: Database, name: str) -> dict[str, Any]:
    if database.dialect == "mysql":
        rows = await database.execute("SELECT IS_USED_LOCK(:name)", {"name": name})
    else:
        sql = (
            "SELECT MAX(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND query LIKE '%' || :name || '%' AND pid <> pg_backend_pid()"
        )
        rows = await database.execute(sql, {"name": name})
    return {"id": rows[0][0]}


@pytest.mark.databases("mysql")
async def test_an_account_that_may_not_kill_is_told_of_once_and_polled_for(
    open_engine: OpenEngine, world: World, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """A service and an operator with accounts of their own: only a privileged one may kill the other's session."""
    name = make_url(database.url).database
    await database.execute(f"CREATE USER IF NOT EXISTS '{name}'@'%'")
    await database.execute(f"GRANT ALL ON {name}.* TO '{name}'@'%'")
    engine = await open_engine(poll_interval=0.05)
    operator = await open_engine(make_url(database.url).set(username=name), poll_interval=NEVER)
    await hangs(engine, database)
    try:
        for n in range(3):
            task = await hold(engine, world, f"w{n}")
            await operator.stop(f"w{n}")
            assert await halted(task) == "stopped"
    finally:
        await operator.close()
        await database.execute(f"DROP USER '{name}'@'%'")
    assert caplog.text.count("other engines can't be rung") == 1


@pytest.mark.databases("sqlite")
async def test_a_bell_that_can_not_hang_is_told_of_once(
    open_engine: OpenEngine, world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        message = "no sockets here"
        raise OSError(message)

    monkeypatch.setattr("socket.socket.bind", refuse)
    engine, other = await open_engine(poll_interval=0.05), await open_engine()
    task = await hold(engine, world)
    await other.stop("w")
    assert await halted(task) == "stopped"
    assert caplog.text.count("this engine can't be rung") == 2, "once for each engine"


@pytest.mark.databases("mysql", "postgresql")
async def test_a_bell_hangs_as_soon_as_its_server_is_there(
    database: Database, world: World, caplog: pytest.LogCaptureFixture, locks: str
) -> None:
    """The lock database is down when the engine opens; what can be done without it goes on."""
    async with Proxy(database.url) as proxy:
        await proxy.cut()
        async with Engine(database.url, lock_url=proxy.url, locks=locks, poll_interval=NEVER) as engine:
            async with asyncio.timeout(20):
                while "this engine can't be rung" not in caplog.text:
                    await asyncio.sleep(0.01)
            await proxy.mend()
            await hangs(engine, database)
            task = await hold(engine, world)
            async with Engine(database.url) as other:
                await other.stop("w")
            assert await halted(task) == "stopped"
    assert caplog.text.count("this engine can't be rung") == 1


@pytest.mark.databases("mysql")
async def test_a_bell_that_is_taken_down_while_it_is_rung(
    open_engine: OpenEngine, database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its connection ends between the look for it and the KILL."""
    engine, other = await open_engine(), await open_engine()
    await hangs(engine, database)
    real = AsyncConnection.execute
    killed = []

    async def execute(self: AsyncConnection, statement: Any, *args: Any) -> Any:
        if str(statement).startswith("KILL"):
            monkeypatch.undo()
            killed.append(await database.execute(str(statement)))
        return await real(self, statement, *args)

    monkeypatch.setattr(AsyncConnection, "execute", execute)
    await other._crew.bell.ring(engine._crew.owner)
    assert len(killed) == 1
    assert "can't be rung" not in caplog.text


@pytest.mark.databases("mysql", "postgresql")
async def test_an_opening_that_is_cancelled_while_the_bell_is_tried_leaves_nothing(
    database: Database, tmp_path: Path, world: World
) -> None:
    async with Proxy(database.url) as proxy:
        proxy.freeze()
        engine = Engine(f"sqlite:///{tmp_path}/data.db", lock_url=proxy.url)
        opening = asyncio.create_task(engine.open())
        async with asyncio.timeout(20):
            while getattr(getattr(engine._crew, "bell", None), "_hanging", None) is None:
                await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        proxy.thaw()
        async with engine:
            task = await hold(engine, world)
            world.gates["w"].set()
            await task
    assert await database.sessions(settle=10) == []
