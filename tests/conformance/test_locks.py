"""Locks of every kind on every database: what each promises to the engine, and what their loss means."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import make_url

from awfe import ConfigError, Engine, LockLost, StoreUnavailable, WorkflowLocked
from awfe.settings import Settings
from awfe.testing.proxy import Proxy
from tests.conformance.conftest import OpenEngine
from tests.conformance.helpers import each_kind_of_lock, hold
from tests.conformance.steps import Hold, Note, World
from tests.conformance.test_connections import kill
from tests.databases import Database

pytestmark = each_kind_of_lock


async def until(condition: Any) -> None:
    """Return when a condition holds."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_lock_is_taken_once_in_an_engine(engine: Engine) -> None:
    """Named locks are re-entrant in their session, so the engine itself must know."""
    locks = engine._crew.locks
    held = await locks.take(7)
    assert held is not None
    assert await locks.take(7) is None
    other = await locks.take(8)
    assert other is not None
    await held.release()
    again = await locks.take(7)
    assert again is not None
    await again.release()
    await other.release()


async def test_who_looks_sees_it_held_and_never_takes_it(engine: Engine, world: World, open_engine: OpenEngine) -> None:
    other = await open_engine()
    task = await hold(engine, world)
    (head,) = await other._reads.running()
    for each in (engine, other):
        assert [await each._crew.locks.is_held(head.id, head.owner) for _ in range(3)] == [True] * 3
    with pytest.raises(WorkflowLocked, match="'w' is running in "):
        await other.run("w")
    world.gates["w"].set()
    await task
    for each in (engine, other):
        assert not await each._crew.locks.is_held(head.id, None)
        assert not await each._crew.locks.is_held(head.id + 1, None)
    again = await other._crew.locks.take(head.id)
    assert again is not None, "it was given back"
    await again.release()


async def test_of_two_that_run_at_once_one_is_refused(engine: Engine, world: World, open_engine: OpenEngine) -> None:
    other = await open_engine()
    for n in range(10):
        name = f"w{n}"
        await engine.create_workflow(name, {}, [Note(name), Note(name)])
        ran = await asyncio.gather(engine.run(name), other.run(name), return_exceptions=True)
        assert sorted(type(each).__name__ for each in ran) in (["Workflow", "WorkflowLocked"], ["Workflow"] * 2)
        assert world.calls.count(name) == 2


async def test_a_take_that_is_cancelled_leaves_no_lock(engine: Engine, open_engine: OpenEngine) -> None:
    other = await open_engine()
    for moments in range(8):
        taking = asyncio.create_task(engine._crew.locks.take(7))
        for _ in range(moments):
            await asyncio.sleep(0)
        taking.cancel()
        done = (await asyncio.gather(taking, return_exceptions=True))[0]
        if done is not None and not isinstance(done, BaseException):
            await done.release()
        async with asyncio.timeout(20):
            while (held := await other._crew.locks.take(7)) is None:
                await asyncio.sleep(0.01)
        await held.release()


@pytest.mark.databases("mysql", "postgresql")
async def test_killed_sessions_cost_no_step_and_no_lock(
    engine: Engine, world: World, database: Database, open_engine: OpenEngine
) -> None:
    """What stands on a killed connection is locked again at once; the others see nothing of it."""
    other = await open_engine(takeover_delay=2.0)
    names = [f"w{n}" for n in range(5)]
    for name in names:
        await engine.create_workflow(name, {}, [Hold(name), Note(name)])
    handles = [await engine.start(name) for name in names]
    for name in names:
        await world.entered[name].wait()
    for _ in range(10):
        await kill(database)
        recovered = await other.recover()
        assert (recovered.started, recovered.refused) == ((), ())
    for name in names:
        world.gates[name].set()
    for handle in handles:
        assert (await handle).state == "completed"
    assert sorted(world.calls) == sorted(names * 2)


@pytest.mark.databases("mysql", "postgresql")
async def test_who_waits_for_a_connection_that_dies_gets_the_lock_on_the_next(
    engine: Engine, database: Database, locks: str
) -> None:
    if locks != "shared":
        return
    kept: Any = engine._crew.locks
    first = await kept.take(1)
    async with kept._connection._busy:
        taking = [asyncio.create_task(kept.take(number)) for number in (2, 3)]
        await asyncio.sleep(0)
        await kill(database)
        await until(lambda: first.is_lost)
    for held in [first, *await asyncio.gather(*taking)]:
        assert await held.regain()
        assert not held.is_lost
        await held.release()


@pytest.mark.databases("mysql", "postgresql")
async def test_no_new_step_begins_while_the_lock_is_not_certain(database: Database, world: World, locks: str) -> None:
    """The locks are reached through a network that swallows everything; the data is not."""
    async with Proxy(database.url) as proxy:
        settings: dict[str, Any] = {"lock_url": proxy.url, "lock_heartbeat": 0.2, "lock_limit": 5.0}
        async with Engine(database.url, **settings) as engine:
            await engine.create_workflow("w", {}, [Hold("one"), Note("two")])
            handle = await engine.start("w")
            await world.entered["one"].wait()
            (run,) = engine._steering.control
            tenure: Any = run._tenure
            proxy.freeze()
            await until(lambda: tenure._held.is_lost)
            world.gates["one"].set()
            for _ in range(10):
                await asyncio.sleep(0.02)
                assert world.calls == ["one"], locks
            await proxy.cut()
            proxy.thaw()
            await proxy.mend()
            assert (await handle).state == "completed"
            assert world.calls == ["one", "two"]


@pytest.mark.databases("mysql", "postgresql")
async def test_locks_may_live_elsewhere(database: Database, world: World, locks: str, tmp_path: Any) -> None:
    """Two data databases share one database for their locks; it may even be of another kind."""
    url = f"sqlite:///{tmp_path}/data.db"
    async with (
        Engine(url, lock_url=database.url) as engine,
        Engine(f"sqlite:///{tmp_path}/more.db", lock_url=database.url) as stranger,
        Engine(url, lock_url=database.url, takeover_delay=0.05) as other,
    ):
        task = await hold(engine, world)
        elsewhere = await hold(stranger, world)
        with pytest.raises(WorkflowLocked):
            await other.delete("w")
        world.gates["w"].set()
        await task
        await elsewhere
    tables = {table for (table,) in await database.execute(_TABLES[database.dialect])}
    assert tables == ({"awfe_lease"} if locks == "lease" else set())


_TABLES = {
    "mysql": "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
    "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
}


@pytest.mark.databases("mysql", "postgresql")
async def test_the_engine_needs_no_more_connections_than_it_says(
    open_engine: OpenEngine, database: Database, world: World
) -> None:
    engine = await open_engine(pool_size=3, max_running=12)
    for n in range(12):
        await engine.create_workflow(f"w{n}", {}, [Hold("hold")])
    handles = [await engine.start(f"w{n}") for n in range(12)]
    await until(lambda: world.calls.count("hold") == 12)
    assert len(await database.sessions()) <= 3 + 1 + engine.settings.lock_connections
    world.gates["hold"].set()
    await asyncio.gather(*handles)


async def test_a_lease_that_ran_out_is_taken_over_and_its_holder_finds_out(
    engine: Engine, world: World, open_engine: OpenEngine, database: Database, locks: str
) -> None:
    if locks != "lease":
        return
    silent = await open_engine(lock_heartbeat=100.0, lock_limit=300.0)
    await engine.create_workflow("w", {}, [Hold("one"), Note("two")])
    handle = await silent.start("w")
    await world.entered["one"].wait()
    await database.execute("UPDATE awfe_lease SET expires = 1 WHERE owner = :owner", {"owner": silent._crew.owner})
    assert (await engine.recover()).refused == ("w",)
    world.gates["one"].set()
    with pytest.raises(LockLost):
        await handle
    assert world.calls == ["one"]
    assert (await engine.get("w")).steps[0].state == "interrupted"


async def test_a_lease_that_ran_out_unseen_is_renewed_and_the_run_goes_on(
    engine: Engine, world: World, database: Database, locks: str, caplog: pytest.LogCaptureFixture
) -> None:
    if locks != "lease":
        return
    task = await hold(engine, world)
    await database.execute("UPDATE awfe_lease SET expires = 1")
    await until(lambda: "locking again" in caplog.text)
    world.gates["w"].set()
    await task
    assert world.calls == ["one", "w", "three"]


@pytest.mark.databases("mysql")
async def test_wrong_settings_of_locks_are_refused(locks: str, database: Database) -> None:
    with pytest.raises(ConfigError, match="locks='none': give one of 'dedicated', 'shared', 'lease'"):
        Settings(locks="none")
    with pytest.raises(ConfigError, match="lock_url: give the URL of a database"):
        Settings(lock_url=3)  # type: ignore[arg-type]  # what is tested
    with pytest.raises(ConfigError, match="oracle"):
        Engine(database.url, locks=locks, lock_url="oracle://u:s3cr3t@h/d")
    url = make_url(database.url).set(password="s3cr3t")  # noqa: S106 - what is tested
    settings = Settings(lock_url=url.render_as_string(hide_password=False))
    assert "s3cr3t" not in repr(settings)


@pytest.mark.databases("mysql", "postgresql")
async def test_a_lock_database_that_does_not_answer_is_store_unavailable(
    database: Database, tmp_path: Any, locks: str
) -> None:
    async with Proxy(database.url) as proxy:
        await proxy.cut()
        settings: dict[str, Any] = {"locks": locks, "lock_url": proxy.url, "connect_retry_for": 0.1}
        engine = Engine(f"sqlite:///{tmp_path}/data.db", **settings)
        if locks == "lease":
            with pytest.raises(StoreUnavailable):
                await engine.open()
            return
        async with engine:
            await engine.create_workflow("w", {}, [Note("one")])
            with pytest.raises(StoreUnavailable):
                await engine.run("w")
            assert (await engine.get("w")).state == "pending"
    assert await database.sessions(settle=5) == []


@pytest.mark.databases("mysql", "postgresql")
async def test_a_lock_database_that_falls_silent_is_given_up(database: Database, world: World, locks: str) -> None:
    """It still takes connections, and answers nothing on them; when it speaks again, the next run has its lock."""
    if locks == "lease":
        pytest.skip("a lease is renewed in a transaction, which has limits of its own")
    async with Proxy(database.url) as proxy:
        quick: dict[str, Any] = {"lock_heartbeat": 0.2, "lock_limit": 1.0, "connect_retry_for": 0.1}
        async with Engine(database.url, lock_url=proxy.url, **quick) as engine:
            await engine.create_workflow("w", {}, [Note("one")])
            proxy.freeze()
            async with asyncio.timeout(10):
                with pytest.raises(StoreUnavailable):
                    await engine.run("w")
            proxy.thaw()
            await engine.run("w")
    assert world.calls == ["one"]
