"""What reaches a server, and what stays in the file system, of an engine that is crashed in this process."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.util import await_only

from awfe import Engine
from awfe.settings import LOCKS
from awfe.testing.calls import Call, Calls
from awfe.testing.crashes import crash
from awfe.testing.proxy import Packet, Proxy
from tests.conformance.conftest import QUICK
from tests.conformance.steps import Hold, Note, Rerun, World
from tests.databases import Database
from tests.durability.test_crashes import Open, hold, open_engine, settle, world
from tests.durability.two_engines import by_single_statements

__all__ = ["open_engine", "world"]  # fixtures

LIVES = "SELECT state, step_state, position, attempt, run_token, rev, request, resumable FROM awfe_workflow"


@pytest.mark.parametrize("kind", ["execute", "commit"])
async def test_a_transaction_that_is_under_way_is_never_committed(
    database: Database, open_engine: Open, world: World, kind: str
) -> None:
    """The move that ends a step waits before its UPDATE, or before its COMMIT with the row locked, and then is dead."""
    engine = Engine(database.url, **QUICK)
    calls = Calls(engine)
    await engine.open()
    if kind == "commit":
        by_single_statements(engine)
    other = await open_engine()
    await hold(engine, world, Rerun("w", {"a": 1}), Note("two"))
    reached, gate = asyncio.Event(), asyncio.Event()

    moving: list[Any] = []

    def wait(call: Call) -> None:
        if "UPDATE awfe_workflow" in call.statement:
            moving.append(call.driver)
        if call.kind == kind and call.driver in moving:
            reached.set()
            await_only(gate.wait())

    calls.clear()
    calls.before = wait
    world.gates["w"].set()
    await reached.wait()
    crashing = asyncio.create_task(crash(engine))
    await asyncio.sleep(0)
    gate.set()
    await crashing
    assert await settle(other) == "started"
    workflow = await other.wait("w")
    assert [(step.state, step.attempt) for step in workflow.steps] == [("completed", 2), ("completed", 1)]
    causes = [str(event.cause) for event in await other.history("w")]
    assert causes.count("step_interrupted") == 1
    assert world.calls == ["w", "w", "two"]


@pytest.mark.databases("mysql", "postgresql")
@pytest.mark.parametrize("locks", LOCKS)
async def test_not_even_a_goodbye_reaches_the_server(
    open_engine: Open, database: Database, world: World, locks: str
) -> None:
    sent: list[bytes] = []

    async def note(packet: Packet) -> None:
        if packet.from_client:
            sent.append(packet.data)

    async with Proxy(database.url) as proxy:
        engine = Engine(proxy.url, **(QUICK | {"locks": locks, "poll_interval": 60.0, "lock_heartbeat": 14.0}))
        await engine.open()
        for name in "wx":
            await hold(engine, world, Hold(name), name=name)
        await _hung(engine, await open_engine(locks=locks))
        proxy.on_packet = note
        said = -1
        while said != len(sent) or engine._database.engine.pool.checkedout():  # type: ignore[attr-defined]  # a queue's
            said = len(sent)
            await asyncio.sleep(0.05)
        sent.clear()
        await crash(engine)
        async with asyncio.timeout(20):
            while proxy._links:
                await asyncio.sleep(0.01)
    assert sent == []


async def _hung(engine: Engine, other: Engine) -> None:
    """Return when the engine's bell hangs: a ring may take it down, and then the next hanging counts as a ring."""
    lookout = engine._steering.lookout
    async with asyncio.timeout(20):
        while lookout.rings < 2 or lookout.rings % 2:
            await other.pause("w")
            await asyncio.sleep(0.02)


@pytest.mark.databases("sqlite")
async def test_the_file_of_a_flock_stays_and_is_free(open_engine: Open, database: Database, tmp_path: Path) -> None:
    engine = await open_engine()
    (file,) = tmp_path.glob("awfe.db-awfe-*[0-9a-f]")
    await crash(engine)
    assert file.exists()
    other = await open_engine()
    assert not await other._crew.locks.is_held(1, engine._crew.owner)
    assert not file.exists()
    assert database.dialect == "sqlite"
