"""Connections that are killed or never come about, and the lock that went with one."""

import asyncio
import gc
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.util import await_only

from awfe import (
    ConfigError,
    Context,
    Engine,
    LockLost,
    StoreUnavailable,
    step,
)
from awfe.testing.calls import Call, Calls
from awfe.testing.proxy import Proxy
from tests.conformance.conftest import OpenEngine
from tests.conformance.steps import Hold, Note, World
from tests.databases import Database


async def kill(database: Database, only: int | None = None) -> int:
    """End sessions of a database, whatever they do; returns how many."""
    end = "SELECT pg_terminate_backend(:id)" if database.dialect == "postgresql" else "KILL :id"
    killed = 0
    for session in await database.sessions():
        if only in {None, session}:
            with suppress(DBAPIError):
                await database.execute(end, {"id": session})
                killed += 1
    return killed


@step
async def tick(ctx: Context, name: str) -> None:
    """Take a moment and count."""
    World.now.calls.append(name)
    await asyncio.sleep(0.02)
    ctx["done"] = ctx.get("done", 0) + 1


@pytest.mark.databases("mysql", "postgresql")
async def test_killed_connections_cost_neither_a_step_nor_the_lock(
    open_engine: OpenEngine, world: World, database: Database
) -> None:
    """All connections, of data and locks, are killed again and again: every step runs once and is saved once."""
    engine = await open_engine(takeover_delay=2.0)
    await engine.create_workflow("w", {}, [tick(str(n)) for n in range(40)])
    handle = await engine.start("w")
    killed = 0
    while not handle.done():
        killed += await kill(database)
        await asyncio.sleep(0.07)
    assert (await handle).context == {"done": 40}
    assert world.calls == [str(n) for n in range(40)]
    assert killed > 10


@pytest.mark.databases("mysql", "postgresql")
async def test_a_lock_that_another_took_ends_the_run_and_its_step(
    engine: Engine, world: World, database: Database, open_engine: OpenEngine
) -> None:
    await engine.create_workflow("w", {}, [Hold("one"), Note("two")])
    handle = await engine.start("w")
    await world.entered["one"].wait()
    other = await open_engine()
    (head,) = await other._reads.running()
    locks: Any = other._crew.locks
    key = locks.server.key(other._database.instance, head.id)
    async with database._engine.connect() as rival:
        wait = "SELECT pg_advisory_lock(:key)" if database.dialect == "postgresql" else "SELECT GET_LOCK(:key, 60)"
        waiting = asyncio.create_task(rival.execute(text(wait), {"key": key}))
        async with asyncio.timeout(20):
            while not await _is_waited_for(database):
                await asyncio.sleep(0.01)
        await database.execute("UPDATE awfe_workflow SET run_token = run_token + 1")
        await kill(database, await _holder(database, key))
        await waiting
        with pytest.raises(LockLost):
            await handle
    assert world.cleaned == ["one"]
    assert world.calls == ["one"]


async def _is_waited_for(database: Database) -> bool:
    """Tell whether a session of this database waits for a named lock."""
    if database.dialect == "mysql":
        sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND state = 'User lock'"
    else:
        mine = "(SELECT oid FROM pg_database WHERE datname = current_database())"
        sql = f"SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = {mine}"
    return bool((await database.execute(sql))[0][0])


async def _holder(database: Database, key: str | int) -> int:
    """Return the session that holds a lock."""
    if database.dialect == "mysql":
        rows = await database.execute("SELECT IS_USED_LOCK(:key)", {"key": key})
    else:
        rows = await database.execute(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
    return int(rows[0][0])


@pytest.mark.databases("mysql", "postgresql")
async def test_opening_waits_for_a_database_that_is_not_up_yet(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with Proxy(database.url) as proxy:
        await proxy.cut()
        engine = Engine(proxy.url, connect_retry_for=30)
        opening = asyncio.create_task(engine.open())
        async with asyncio.timeout(25):
            while "does not answer" not in caplog.text:
                await asyncio.sleep(0.01)
        assert not opening.done()
        await proxy.mend()
        await opening
        await engine.close()


@pytest.mark.databases("mysql", "postgresql")
async def test_an_unreachable_host_is_named_and_the_password_never(database: Database) -> None:
    async with Proxy(database.url) as proxy:
        url = make_url(proxy.url).set(username="ann", password="s3cr3t")  # noqa: S106 - what is tested
    engine = Engine(url, connect_retry_for=0)
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1") as failure:
        await engine.open()
    _keeps_the_secret(failure.value)


@pytest.mark.databases("mysql")
async def test_a_wrong_password_names_user_and_host_and_never_itself(database: Database) -> None:
    url = make_url(database.url).set(username="nobody_here", password="s3cr3t")  # noqa: S106 - what is tested
    with pytest.raises(ConfigError, match=r"'nobody_here' at host '127\.0\.0\.1'") as failure:
        await Engine(url, connect_retry_for=30).open()
    _keeps_the_secret(failure.value)


@pytest.mark.databases("mysql", "postgresql")
async def test_a_database_that_does_not_exist_is_a_config_error(database: Database) -> None:
    url = make_url(database.url).set(database="no_such_database")
    with pytest.raises(ConfigError, match="no_such_database"):
        await Engine(url).open()


def _keeps_the_secret(error: BaseException) -> None:
    seen: BaseException | None = error
    while seen is not None:
        assert "s3cr3t" not in f"{seen} {seen!r} {seen.args}"
        seen = seen.__cause__ or seen.__context__


@pytest.mark.databases("sqlite")
async def test_a_file_that_cannot_be_opened_is_store_unavailable(tmp_path: Any) -> None:
    with pytest.raises(StoreUnavailable, match="unable to open database file"):
        await Engine(f"sqlite:///{tmp_path}/no/such/folder/w.db", connect_retry_for=0).open()
    (tmp_path / "text.db").write_text("this is no database, but a text that is long enough to be read " * 20)
    with pytest.raises(StoreUnavailable, match="not a database"):
        await Engine(f"sqlite:///{tmp_path}/text.db", connect_retry_for=0).open()


@pytest.mark.databases("mysql", "postgresql")
async def test_a_lock_that_is_lost_in_the_middle_of_a_claim_is_taken_again(
    engine: Engine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row has the token of the claim before the runner knows it: that is no takeover."""
    await engine.create_workflow("w", {}, [Note("one"), Note("two")])
    real = engine._writes.claim

    async def claim(*args: Any, **kwargs: Any) -> Any:
        found = await real(*args, **kwargs)
        locks: Any = engine._crew.locks
        (lock,) = locks.held
        lock.connection.end()
        async with asyncio.timeout(20):
            while lock.is_lost:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        return found

    monkeypatch.setattr(engine._writes, "claim", claim)
    assert (await engine.run("w")).state == "completed"
    assert world.calls == ["one", "two"]


async def test_who_stands_in_line_for_a_connection_does_not_wait_for_the_database(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one has waited for longer than a database may take; it is answered all the same."""
    engine = await open_engine(pool_size=2, connect_retry_for=0.0)
    monkeypatch.setattr("awfe.persistence.session._LEAST_LIMIT", 1.0)

    async def linger(connection: AsyncConnection) -> None:
        await connection.execute(text("SELECT 1"))
        await asyncio.sleep(0.25)

    await asyncio.gather(*(engine._database.read(linger) for _ in range(12)))


@pytest.mark.parametrize("how", ["fails", "hangs"])
async def test_a_connection_that_can_not_be_rolled_back_is_ended(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """SQLAlchemy would give it back, or leave it to the garbage collector; what was read with it stands."""
    engine = await open_engine()
    await engine.create_workflow("w", {}, [Note("one")])
    pool: Any = engine._database.engine.pool
    broken: list[Any] = []

    def roll_back(connection: Any) -> None:
        monkeypatch.undo()
        broken.append(connection.driver_connection)
        if how == "hangs":
            await_only(asyncio.sleep(3600))
        raise OSError(how)

    monkeypatch.setattr("awfe.persistence.session._CONNECT_LIMIT", 0.1)
    monkeypatch.setattr(pool._dialect, "do_rollback", roll_back)
    workflow = await engine.get("w")
    assert workflow.state == "pending"
    assert len(broken) == 1
    for _ in range(engine.settings.pool_size):
        async with engine._database.engine.connect() as connection:
            raw = await connection.get_raw_connection()
            assert raw.driver_connection is not broken[0]
    assert pool.checkedout() == 0
    assert (await engine.run("w")).state == "completed"


@pytest.mark.databases("mysql")
async def test_a_goodbye_that_is_cut_off_closes_the_connection(open_engine: OpenEngine) -> None:
    """Else it would be the garbage collector's, which warns: the driver waits where the server has gone first."""
    engine = await open_engine()
    async with engine._database.engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
    driver._writer.transport.abort()
    closing = asyncio.create_task(engine._database.engine.dispose())
    await asyncio.sleep(0)
    assert not driver.closed
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert driver.closed


async def test_a_hook_that_raises_after_a_connect_leaves_nothing_open(database: Database) -> None:
    engine = Engine(database.url, connect_retry_for=0.0)
    made: list[Any] = []

    def fail(call: Call) -> None:
        if call.kind == "connect":
            made.append(call.driver)
            raise ConnectionResetError

    Calls(engine).after = fail
    with pytest.raises(StoreUnavailable):
        await engine.open()
    assert made
    assert await database.sessions(settle=10) == []
    # What is left open would warn now, and fail this test.
    made.clear()
    gc.collect()
