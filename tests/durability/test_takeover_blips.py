"""A blip of the server, or a lock connection that is killed, puts no healthy workflow into `error`."""

import asyncio
import copy
import gc
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from awfe import BaseStep, Context, Engine, WorkflowState
from awfe.domain.moves import Head
from awfe.execution.recovery import Recovery
from awfe.execution.tenure import Tenure
from awfe.settings import LOCKS
from tests.conformance.conftest import QUICK
from tests.databases import Database
from tests.durability.sweep_settings import LONG

pytestmark = pytest.mark.long

# One session of shared locks holds those of all workflows of its engine, so each of its kills is a blip of its own. A
# lease has no session that is killed with it.
KILLS = {"dedicated": 200, "shared": 200 if LONG else 24, "lease": 200 if LONG else 60}
WORKFLOWS = 20
STEPS = 12
DELAY = 0.5
BLIP = 0.2

Kill = Callable[[], Coroutine[Any, Any, int]]


@dataclass
class Beat(BaseStep, name="tests.Beat"):
    """Takes a moment, and counts; the last one lasts until all is over."""

    number: int
    calls: ClassVar[Counter[tuple[str, int]]]
    over: ClassVar[asyncio.Event]

    async def work(self, ctx: Context) -> None:
        """Count."""
        Beat.calls[ctx.workflow, self.number] += 1
        with suppress(TimeoutError):
            async with asyncio.timeout(None if self.number == STEPS else 0.3):
                await Beat.over.wait()
        ctx["beats"] = self.number


@asynccontextmanager
async def two_engines(database: Database, locks: str) -> AsyncIterator[tuple[Engine, Engine]]:
    """Open two engines that look for orphans all the time."""
    settings = QUICK | {"locks": locks, "takeover_delay": DELAY, "recover_every": 0.1, "max_running": WORKFLOWS}
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(Engine(database.url, **settings)) for _ in range(2)]
        yield one, two


@asynccontextmanager
async def killer(database: Database, engine: Engine) -> AsyncIterator[Kill]:
    """Return what kills the sessions that hold locks of workflows, or, where no session does, all sessions."""
    admin = create_async_engine(database.url, isolation_level="AUTOCOMMIT")
    async with admin.connect() as connection:

        async def kill() -> int:
            holders = await _holders(connection, engine)
            random.shuffle(holders)
            # All of them is a blip of the server, some is what a proxy or an administrator does.
            chosen = holders if random.random() < 0.3 else holders[: WORKFLOWS // 2]  # noqa: S311 - not a secret
            for session in chosen:
                with suppress(DBAPIError):  # it has ended by itself
                    await connection.execute(text(_KILL[database.dialect].format(session)))
            return len(chosen)

        yield kill
    await admin.dispose()


_KILL = {"mysql": "KILL {}", "postgresql": "SELECT pg_terminate_backend({})"}
_SESSIONS = {
    "mysql": "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()",
    "postgresql": "SELECT pid FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
}


async def _holders(connection: AsyncConnection, engine: Engine) -> list[int]:
    """Return the sessions that hold locks of workflows."""
    locks: Any = engine._crew.locks
    if engine.settings.locks == "lease":
        return [row[0] for row in await connection.execute(text(_SESSIONS[engine._database.kind]))]
    keys = [locks.key(head.id) for head in await engine._reads.running()]
    if engine._database.kind == "mysql":
        looks = ", ".join(f"IS_USED_LOCK('{key}')" for key in keys)
        return list({session for session in (await connection.execute(text(f"SELECT {looks}"))).one() if session})
    advisory = "SELECT DISTINCT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
    where = "WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()"
    return [row[0] for row in await connection.execute(text(f"{advisory} {where}"))]


async def all_held(engine: Engine) -> None:
    """Return when the lock of each workflow that runs is held again."""
    held: set[int] = set()
    async with asyncio.timeout(30):
        # Looked for again and again: the lock of one that was taken over stays free.
        while missing := [head for head in await engine._reads.running() if head.id not in held]:
            held |= {head.id for head in missing if await engine._crew.locks.is_held(head.id, head.owner)}
            await asyncio.sleep(0.05)


async def _beaten(database: Database, locks: str, kills: int) -> None:
    """Kill lock connections beside two engines that look for orphans, and see that nobody was taken for one."""
    Beat.calls, Beat.over = Counter(), asyncio.Event()
    names = [f"w{n}" for n in range(2 * WORKFLOWS)]
    killed = 0
    async with two_engines(database, locks) as engines, killer(database, engines[0]) as kill:
        handles = []
        for n, name in enumerate(names):
            engine = engines[n % 2]
            await engine.create_workflow(name, {}, [Beat(step) for step in range(1, STEPS + 1)])
            handles.append(await engine.start(name))
        try:
            while killed < kills:
                killed += await kill()
                await all_held(engines[0])
                # One look may fall into this blip. The look after it must not fall into another: that is none any more.
                await asyncio.sleep(DELAY * 1.5)
                running = (await engines[0].stats())[WorkflowState.RUNNING]
                assert running == len(names), "a healthy workflow was taken over"
        finally:
            Beat.over.set()
        for handle in handles:
            assert (await handle).context == {"beats": STEPS}
        for name in names:
            causes = [str(event.cause) for event in await engines[0].history(name)]
            assert causes == ["created", "run", *["step_completed"] * STEPS]
    assert set(Beat.calls.values()) == {1}
    assert len(Beat.calls) == len(names) * STEPS


@pytest.mark.databases("mysql", "postgresql")
@pytest.mark.parametrize("locks", LOCKS)
async def test_killed_lock_connections_cost_no_healthy_workflow(database: Database, locks: str, seed: int) -> None:
    random.seed(seed)
    await _beaten(database, locks, KILLS[locks])


@pytest.fixture
def collected() -> Iterator[None]:
    """Leave no connection that was killed to a later test."""
    yield
    gc.collect()


# aiomysql does not close a connection that was reset while it was idle, and warns of it when it is collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("collected")
@pytest.mark.databases("mysql", "postgresql")
async def test_one_look_would_take_the_healthy_for_gone(
    database: Database, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: an expected failure that must fail. Its blips last for four looks, most of them in the last step.

    Before that each step that ends is a sign of life, which also saves them.
    """
    random.seed(seed)
    settle_now, try_again = Recovery._settle_now, Tenure._try_again

    async def later(tenure: Tenure, deadline: float) -> None:
        await asyncio.sleep(BLIP)
        await try_again(tenure, deadline)

    async def gone(_head: Head) -> bool:
        return False

    async def after_one_look(recovery: Recovery, head: Head) -> Head:
        believing = copy.copy(recovery)
        monkeypatch.setattr(believing, "is_alive", gone)
        return await settle_now(believing, head)

    monkeypatch.setattr(Tenure, "_try_again", later)
    monkeypatch.setattr(Recovery, "_settle_now", after_one_look)
    with pytest.raises(AssertionError, match="a healthy workflow was taken over"):
        await _beaten(database, "dedicated", 120)
