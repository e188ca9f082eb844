"""Two engines on one database, the first behind a proxy, and ways to see what became of what they were asked."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from awfe import BaseStep, Engine, Handle
from awfe.testing.proxy import Proxy
from tests.conformance.conftest import QUICK
from tests.conformance.steps import World
from tests.databases import Database


@dataclass
class Two:
    """Two engines on one database, the first behind a proxy; neither looks by itself, recovers or rings."""

    database: Database
    proxy: Proxy
    first: Engine
    second: Engine

    async def start(self, *steps: BaseStep, until: str) -> Handle:
        """Let the first engine run a workflow to where one of its steps waits."""
        await self.first.create_workflow("w", {}, steps)
        handle = await self.first.start("w")
        await World.now.entered[until].wait()
        return handle

    async def cut_off_first(self, gate: str) -> None:
        """Let its step go on while nothing passes to and from the database any more, and its lock is free."""
        self.proxy.freeze()
        World.now.gates[gate].set()
        (head,) = await self.second._reads.running()
        locks = self.second._crew.locks
        if self.database.dialect == "mysql":
            key = {"key": locks.key(head.id)}  # type: ignore[attr-defined]  # a server's locks have names
            ((session,),) = await self.database.execute("SELECT IS_USED_LOCK(:key)", key)
            await self.database.execute(f"KILL {session}")
        else:
            here = "(SELECT oid FROM pg_database WHERE datname = current_database())"
            held = f"pg_locks WHERE locktype = 'advisory' AND granted AND database = {here}"
            await self.database.execute(f"SELECT pg_terminate_backend(pid) FROM {held}")
        async with asyncio.timeout(20):
            while await locks.is_held(head.id, head.owner):
                await asyncio.sleep(0.01)


@asynccontextmanager
async def two(database: Database) -> AsyncIterator[Two]:
    """Open two engines."""
    settings = QUICK | {"poll_interval": 600.0}
    async with (
        Proxy(database.url) as proxy,
        Engine(proxy.url, **settings) as first,
        Engine(database.url, **settings) as second,
    ):
        # What has rung would race with what a test means to be first.
        first._crew.bell.ring = second._crew.bell.ring = _nobody  # type: ignore[method-assign]  # of these two only
        try:
            yield Two(database, proxy, first, second)
        finally:
            proxy.thaw()


async def _nobody(owner: str) -> None:
    pass


def by_single_statements(engine: Engine) -> None:
    """Let a lone move be a transaction, as with a caller's `AsyncEngine`: its COMMIT comes when its row is locked."""
    engine._database.takes_requests = False


async def told(awaitable: Awaitable[object]) -> str:
    """Return the name of what something raises, or `done`."""
    try:
        await awaitable
    except Exception as error:  # noqa: BLE001 - whatever it is, it is looked at
        return type(error).__name__
    return "done"


async def asked_again(database: Database) -> None:
    """Return when a statement waits in the server for a lock that another transaction has."""
    wait = _waits_on_mysql if database.dialect == "mysql" else _waits_on_postgresql
    async with asyncio.timeout(20):
        while not await wait(database):
            await asyncio.sleep(0.01)


async def _waits_on_postgresql(database: Database) -> bool:
    here = "datname = current_database()"
    sql = f"SELECT COUNT(*) FROM pg_stat_activity WHERE {here} AND wait_event_type = 'Lock'"
    return bool((await database.execute(sql))[0][0])


async def _waits_on_mysql(database: Database) -> bool:
    # information_schema.innodb_trx shows what it has shown before, for as long as anybody keeps looking.
    ((_, _, told),) = await database.execute("SHOW ENGINE INNODB STATUS")
    # Before its transactions it may tell of a deadlock that was.
    _, _, now = told.partition("\nTRANSACTIONS\n")
    waiting = set(map(int, re.findall(r"LOCK WAIT.*?thread id (\d+)", now, re.DOTALL)))
    here = await database.execute("SELECT id FROM information_schema.processlist WHERE db = DATABASE()")
    return not waiting.isdisjoint(session for (session,) in here)
