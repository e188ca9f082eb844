"""A database that is away, silent or locked for a while, or for good."""

import asyncio
from typing import Any

import pytest

from awfe import (
    Engine,
    LockLost,
    StoreUnavailable,
)
from awfe.testing.proxy import Packet, Proxy
from tests.conformance.conftest import QUICK, OpenEngine
from tests.conformance.steps import Hold, Note, World
from tests.databases import Database


@pytest.mark.databases("mysql", "postgresql")
async def test_a_database_that_is_away_costs_waiting_and_not_work(database: Database, world: World) -> None:
    async with Proxy(database.url) as proxy, Engine(proxy.url, **QUICK) as engine:
        await engine.create_workflow("w", {}, [Hold("one", {"result": 1}), Note("two")])
        handle = await engine.start("w")
        await world.entered["one"].wait()
        await proxy.cut()
        world.gates["one"].set()
        await asyncio.sleep(0.3)
        assert world.calls == ["one"], "no new step begins"
        await proxy.mend()
        workflow = await handle
        assert workflow.context == {"result": 1}
        assert world.calls == ["one", "two"]
        assert workflow.steps[0].attempt == 1


@pytest.mark.databases("mysql", "postgresql")
async def test_a_database_that_stays_away_is_store_unavailable(database: Database, world: World) -> None:
    settings: Any = QUICK | {"db_retry_for": 0.3, "shutdown_grace": 0.1}
    async with Proxy(database.url) as proxy, Engine(proxy.url, **settings) as engine:
        await engine.create_workflow("w", {}, [Hold("one", {"result": 1}), Note("two")])
        handle = await engine.start("w")
        await world.entered["one"].wait()
        await proxy.cut()
        world.gates["one"].set()
        created = engine.create_workflow("v", {}, [Note("v")])
        for awaited in (
            handle,
            engine.get("w"),
            engine.list(),
            engine.pause("w"),
            created,
        ):
            with pytest.raises(StoreUnavailable) as failure:
                await awaited
            assert type(failure.value) is StoreUnavailable
            assert failure.value.__cause__ is not None
        await proxy.mend()
        workflow = await engine.wait("w", 30)
        assert (workflow.state, workflow.steps[0].state) == ("error", "interrupted")
        assert (await engine.restart("w")).state == "completed"


@pytest.mark.databases("mysql", "postgresql")
async def test_a_partition_is_noticed_by_the_heartbeat_and_the_lock_taken_again(
    database: Database, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    settings: Any = QUICK | {"lock_heartbeat": 0.1, "lock_limit": 1.0}
    async with Proxy(database.url) as proxy, Engine(proxy.url, **settings) as engine:
        await engine.create_workflow("w", {}, [Hold("one"), Note("two")])
        handle = await engine.start("w")
        await world.entered["one"].wait()
        proxy.freeze()
        async with asyncio.timeout(20):
            while "locking again" not in caplog.text:
                await asyncio.sleep(0.01)
        world.gates["one"].set()
        await asyncio.sleep(0.1)
        assert world.calls == ["one"], "no new step begins while the lock is not certain"
        proxy.thaw()
        assert (await handle).state == "completed"
        assert world.calls == ["one", "two"]


@pytest.mark.databases("mysql", "postgresql")
async def test_the_server_lets_go_of_a_silent_holder(database: Database, world: World, open_engine: OpenEngine) -> None:
    """A frozen process or a partition: the lock is free after `lock_limit`, and the fence keeps the old runner out."""
    settings: Any = QUICK | {"lock_heartbeat": 0.2, "lock_limit": 1.0, "shutdown_grace": 0.1}
    other = await open_engine()
    async with Proxy(database.url) as proxy, Engine(proxy.url, **settings) as engine:
        await engine.create_workflow("w", {}, [Hold("one"), Note("two")])
        handle = await engine.start("w")
        await world.entered["one"].wait()
        proxy.freeze()
        async with asyncio.timeout(30):
            while not (await other.recover()).refused:
                await asyncio.sleep(0.1)
        assert (await other.get("w")).steps[0].state == "interrupted"
        proxy.thaw()
        with pytest.raises(LockLost):
            await handle
        assert (await other.get("w")).state == "error"
        assert world.calls == ["one"]


@pytest.mark.databases("mysql", "postgresql")
async def test_the_server_lets_go_of_a_holder_cut_off_within_a_heartbeat(
    database: Database, world: World, open_engine: OpenEngine
) -> None:
    """A request of which the network has passed the first packet only is silence too."""
    settings: Any = QUICK | {"lock_heartbeat": 0.2, "lock_limit": 1.0, "shutdown_grace": 0.1, "poll_interval": 60}
    other = await open_engine()
    locks: list[int] = []
    seen: list[Packet] = []

    async def freeze_within(packet: Packet) -> None:
        if b"pg_try_advisory_lock" in packet.data or b"GET_LOCK" in packet.data:
            locks.append(packet.connection)
        if world.calls and packet.connection == locks[-1]:
            seen.append(packet)
            if len(seen) == 2:
                proxy.freeze()

    async with Proxy(database.url) as proxy, Engine(proxy.url, **settings) as engine:
        proxy.on_packet = freeze_within
        await engine.create_workflow("w", {}, [Hold("one"), Note("two")])
        handle = await engine.start("w")
        async with asyncio.timeout(30):
            while not (await other.recover()).refused:
                await asyncio.sleep(0.1)
        proxy.thaw()
        with pytest.raises(LockLost):
            await handle
    assert world.calls == ["one"]


@pytest.mark.databases("sqlite")
async def test_a_locked_sqlite_file_costs_waiting(engine: Engine, world: World, database: Database) -> None:
    await engine.create_workflow("w", {}, [Hold("one"), Note("two")])
    handle = await engine.start("w")
    await world.entered["one"].wait()
    async with database._engine.connect() as connection:
        await connection.exec_driver_sql("BEGIN EXCLUSIVE")
        world.gates["one"].set()
        await asyncio.sleep(0.3)
        assert world.calls == ["one"]
        await connection.exec_driver_sql("ROLLBACK")
    assert (await handle).state == "completed"
