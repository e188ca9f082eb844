"""Thousands at once on one lock connection, at a server that takes as few connections as it does by default."""

import asyncio
from typing import ClassVar

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from awfe import BaseStep, Context, Engine, Handle, WorkflowState
from tests.servers import REQUIRE_ALL, MySQL

pytestmark = pytest.mark.long

MANY = 5_000
DEFAULT_MAX_CONNECTIONS = 151
POOL = 8


class Meet(BaseStep, name="tests.Meet"):
    """Waits until all are here."""

    here: ClassVar[int]
    all_here: ClassVar[asyncio.Event]
    go: ClassVar[asyncio.Event]

    async def work(self, ctx: Context) -> None:
        """Wait."""
        Meet.here += 1
        if Meet.here == MANY:
            Meet.all_here.set()
        await Meet.go.wait()
        ctx["met"] = True


@pytest.mark.timeout(400)
async def test_five_thousand_run_at_once_on_one_lock_connection() -> None:
    program = MySQL.find()
    if program is None and not REQUIRE_ALL:
        pytest.skip("no MariaDB")
    assert program is not None
    server = MySQL(program, fast=True, max_connections=DEFAULT_MAX_CONNECTIONS)
    server.start()
    try:
        await asyncio.to_thread(server.wait)
        await _meet(server.url)
    finally:
        server.stop()


async def _meet(url: str) -> None:
    admin = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with admin.connect() as connection:
        await connection.execute(text("CREATE DATABASE awfe"))
        assert (await connection.execute(text("SELECT @@max_connections"))).scalar() == DEFAULT_MAX_CONNECTIONS
        Meet.here, Meet.all_here, Meet.go = 0, asyncio.Event(), asyncio.Event()
        database = make_url(url).set(database="awfe")
        # The loop is busy for longer than a heartbeat may take by default.
        async with Engine(database, locks="shared", max_running=MANY, pool_size=POOL, lock_limit=120) as engine:
            names = [f"w{n}" for n in range(MANY)]
            handles: list[Handle] = []
            for some in (names[first : first + 100] for first in range(0, MANY, 100)):
                await asyncio.gather(*(engine.create_workflow(name, {}, [Meet]) for name in some))
                handles += await asyncio.gather(*(engine.start(name) for name in some))
            await Meet.all_here.wait()
            assert (await engine.stats())[WorkflowState.RUNNING] == MANY
            held = text("SELECT COUNT(*) FROM information_schema.processlist WHERE db = 'awfe'")
            # The data, the locks and the bell.
            sessions: int = (await connection.execute(held)).scalar_one()
            assert sessions <= POOL + 2
            Meet.go.set()
            for handle in handles:
                assert (await handle).context == {"met": True}
            assert (await engine.stats())[WorkflowState.COMPLETED] == MANY
    await admin.dispose()
