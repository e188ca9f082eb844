"""Locks that are lost at an awkward moment, and answers about them that are no good."""

import asyncio
import socket
import struct
from typing import Any

import pytest

from awfe import Engine, LockLost, StoreUnavailable, WorkflowLocked
from awfe.persistence.locks.connection import LockConnection
from awfe.testing.calls import Calls
from awfe.testing.faults import Fault, Faults
from awfe.testing.proxy import Packet, Proxy
from tests.conformance.conftest import QUICK, OpenEngine
from tests.conformance.helpers import each_kind_of_lock, hold
from tests.conformance.steps import Hold, Note, World
from tests.conformance.test_locks import until
from tests.databases import Database

on_servers = pytest.mark.databases("mysql", "postgresql")
of_connections = pytest.mark.parametrize("locks", ["dedicated", "shared"], indirect=True)


@each_kind_of_lock
async def test_a_lock_that_is_not_lost_is_regained_at_once(engine: Engine) -> None:
    held = await engine._crew.locks.take(7)
    assert held is not None
    assert await held.regain()
    assert await engine._crew.locks.is_held(7, engine._crew.owner)
    await held.release()


@on_servers
@of_connections
@pytest.mark.parametrize(("what", "answers"), [("take", True), ("release", True), ("release", False)])
async def test_a_server_that_hangs_up(
    engine: Engine, world: World, what: str, monkeypatch: pytest.MonkeyPatch, locks: str, *, answers: bool
) -> None:
    """A lock that was given with it is taken again; a connection that took one back, or not, is not used again."""
    real = LockConnection.ask
    kept: Any = engine._crew.locks
    left: list[LockConnection] = []

    async def ask(self: LockConnection, call: str, keys: Any, limit: float) -> list[bool]:
        given = await real(self, call, keys, limit)
        if call is getattr(kept.server, what) and not left:
            left.append(self)
            self.end()
            if not answers:
                raise ConnectionResetError
        return given

    monkeypatch.setattr(LockConnection, "ask", ask)
    await engine.create_workflow("w", {}, [Note("one"), Note("two")])
    assert (await engine.run("w")).state == "completed"
    assert world.calls == ["one", "two"]
    assert len(left) == 1, locks
    again = await kept.take(1)
    assert again.connection.driver is not left[0].driver
    await again.release()


@on_servers
@of_connections
async def test_a_connection_that_is_lost_while_it_takes_a_lock(
    engine: Engine, open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch, locks: str
) -> None:
    """It is taken on a new one; what the server gave to the old one goes with it."""
    real = LockConnection._answers
    kept: Any = engine._crew.locks
    left: list[LockConnection] = []

    async def answers(self: LockConnection, call: str, keys: Any, limit: float) -> list[bool]:
        given = await real(self, call, keys, limit)
        if call is kept.server.take and not left:
            left.append(self)
            raise ConnectionResetError
        return given

    monkeypatch.setattr(LockConnection, "_answers", answers)
    held = await kept.take(7)
    assert held is not None
    assert left[0].ended.is_set(), locks
    other = await open_engine()
    assert await other._crew.locks.take(7) is None
    await held.release()
    again = await other._crew.locks.take(7)
    assert again is not None
    await again.release()


@on_servers
@pytest.mark.parametrize("locks", ["dedicated"], indirect=True)
async def test_a_lost_connection_is_given_back_also_by_who_is_cut_off(engine: Engine, locks: str) -> None:
    """As by a run that ends while its lock is taken again, and a heartbeat still waits on the connection."""
    kept: Any = engine._crew.locks
    held = await kept.take(7)
    async with held.connection._busy:
        held.connection.end()
        regaining = asyncio.create_task(held.regain())
        await asyncio.sleep(0)
        regaining.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await regaining
    await held.release()
    assert kept.engine.pool.checkedout() == 0, locks


@on_servers
@of_connections
async def test_a_heartbeat_is_no_sign_of_life_of_a_connection_that_is_gone(database: Database, locks: str) -> None:
    """It would keep the server from letting go."""
    passed = []

    async def note(packet: Packet) -> None:
        passed.append(packet)

    async with Proxy(database.url) as proxy, Engine(database.url, lock_url=proxy.url, **QUICK) as engine:
        held: Any = await engine._crew.locks.take(7)
        connection = held.connection
        proxy.on_packet = note
        await connection.beat(5.0)
        assert len(passed) >= 2, locks
        passed.clear()
        connection.end()
        await connection.beat(5.0)
        assert passed == []
        await held.release()


@on_servers
@pytest.mark.parametrize("locks", ["shared"], indirect=True)
async def test_a_lock_that_the_server_does_not_know_ends_the_connection(engine: Engine, locks: str) -> None:
    """Nobody knows what else it has forgotten: the others are taken again."""
    kept: Any = engine._crew.locks
    forgotten, other = await kept.take(7), await kept.take(8)
    assert await forgotten.connection.ask(kept.server.release, [forgotten.key], kept.limit) == [True]
    await forgotten.release()
    assert other.is_lost, locks
    assert await other.regain()
    assert await kept.is_held(8, None)
    await other.release()


@pytest.mark.parametrize("locks", ["lease"], indirect=True)
async def test_a_workflow_that_is_deleted_while_its_lock_is_lost(
    engine: Engine, open_engine: OpenEngine, world: World, database: Database, locks: str
) -> None:
    silent = await open_engine(lock_heartbeat=100.0, lock_limit=300.0)
    await engine.create_workflow("w", {}, [Hold("one"), Note("two")])
    handle = await silent.start("w")
    await world.entered["one"].wait()
    await database.execute("UPDATE awfe_lease SET expires = 1 WHERE owner = :owner", {"owner": silent._crew.owner})
    assert (await engine.recover()).refused == ("w",)
    await engine.delete("w")
    leases: Any = silent._crew.locks
    # As its heartbeat will see, some time later.
    leases._doubtful = True
    for lock in leases.held.values():
        lock.lose()
    with pytest.raises(LockLost, match="was taken over"):
        await handle
    assert (world.cleaned, world.calls) == (["one"], ["one"]), locks


@on_servers
async def test_no_step_begins_whose_lock_was_lost_before_the_claim_for_good(
    database: Database, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: Any = QUICK | {"db_retry_for": 0.3}
    async with Proxy(database.url) as proxy, Engine(database.url, lock_url=proxy.url, **settings) as engine:
        await engine.create_workflow("w", {}, [Note("one")])
        real = engine._writes.claim

        async def claim(*args: Any, **kwargs: Any) -> Any:
            monkeypatch.undo()
            await proxy.cut()
            tenure: Any = next(iter(engine._steering.control))._tenure
            await until(lambda: tenure._regaining is not None and tenure._regaining.done())
            return await real(*args, **kwargs)

        monkeypatch.setattr(engine._writes, "claim", claim)
        with pytest.raises(StoreUnavailable, match="the lock could not be taken again"):
            await engine.run("w")
        await proxy.mend()
        async with asyncio.timeout(30):
            while (await engine.get("w")).state == "running":
                await asyncio.sleep(0.02)
        assert (await engine.get("w")).steps[0].state == "interrupted"
        assert world.calls == []
        assert (await engine.restart("w")).state == "completed"


class Firewall(Proxy):
    """Resets what it cuts, which no server does."""

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # To linger for no time is to reset.
        client: socket.socket = writer.get_extra_info("socket")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        super()._accept(reader, writer)


@pytest.mark.databases("mysql")
async def test_a_connection_that_is_reset_is_seen_at_once(
    database: Database, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    settings: Any = QUICK | {"lock_heartbeat": 100.0, "lock_limit": 300.0}
    async with Firewall(database.url) as proxy, Engine(database.url, lock_url=proxy.url, **settings) as engine:
        task = await hold(engine, world)
        locks: Any = engine._crew.locks
        (lock,) = locks.held
        broken, reader = lock.connection, lock.connection.driver._reader
        await proxy.cut()
        await until(broken.ended.is_set)
        assert isinstance(reader.exception(), ConnectionResetError)
        await proxy.mend()
        world.gates["w"].set()
        await task
    assert "locking again" in caplog.text
    assert world.calls == ["one", "w", "three"]


@on_servers
@of_connections
async def test_a_lock_that_others_hold_refuses_a_run(engine: Engine, open_engine: OpenEngine, locks: str) -> None:
    """As while they begin: nothing in the tables tells of it yet."""
    other = await open_engine()
    await engine.create_workflow("w", {}, [Note("one")])
    held = await other._crew.locks.take(1)
    assert held is not None, locks
    with pytest.raises(WorkflowLocked):
        await engine.run("w")
    await held.release()
    assert (await engine.run("w")).state == "completed"


async def test_a_lease_that_can_not_be_renewed_stays_lost(database: Database) -> None:
    engine = Engine(database.url, locks="lease", **(QUICK | {"connect_retry_for": 0.1}))
    calls = Calls(engine)
    async with engine:
        leases: Any = engine._crew.locks
        lock = await leases.take(7)
        leases._doubtful = True
        lock.lose()
        faults = Faults(calls, Fault.TIMEOUT_BEFORE, 0, times=None)
        with pytest.raises(StoreUnavailable):
            await lock.regain()
        assert lock.is_lost
        faults.heal()
        assert await lock.regain()
        assert not lock.is_lost
        await lock.release()
