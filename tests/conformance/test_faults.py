"""What goes wrong between engine and database: lost commits, lost connections, a lost lock, a database that is away."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from awfe import (
    AwfeError,
    ConfigError,
    Context,
    Engine,
    LockLost,
    StepError,
    StoreUnavailable,
    WorkflowExists,
    WorkflowNotFound,
    step,
)
from tests.conformance.conftest import QUICK, OpenEngine
from tests.conformance.steps import Flaky, Hold, Note, World
from tests.databases import Database
from tests.proxy import Proxy


class Commits:
    """Lets the n-th commit from now on fail: before it was done, or after."""

    def __init__(self) -> None:
        self.seen = 0
        self.fail_at = 0
        self.after = False

    async def commit(self, real: Callable[[AsyncSession], Awaitable[None]], session: AsyncSession) -> None:
        """Commit, or not."""
        self.seen += 1
        if self.seen != self.fail_at:
            return await real(session)
        if self.after:
            await real(session)
        message = "injected"
        raise ConnectionResetError(message)


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> Iterator[Commits]:
    """Count the commits of data sessions, and let one fail."""
    counter, real = Commits(), AsyncSession.commit
    monkeypatch.setattr(AsyncSession, "commit", lambda session: counter.commit(real, session))
    return counter  # type: ignore[return-value]  # a fixture may


@step
async def checkpoints(ctx: Context) -> None:
    """Save in the middle."""
    ctx["begun"] = ctx.get("begun", 0) + 1
    await ctx.checkpoint()
    ctx["ended"] = ctx.get("ended", 0) + 1


async def everything(engine: Engine) -> None:
    """Use every verb that commits."""
    await engine.create_workflow("w", {"start": 0}, [Note("one"), checkpoints(), Flaky("three", 1), Note("four")])
    with pytest.raises(StepError):
        await engine.run("w")
    await engine.update_context("w", {"edited": 1})
    await engine.restart("w", keep_context=True)
    await engine.reset("w", from_step=4)
    await engine.skip("w")
    await engine.create_workflow("gone", {}, [Note("gone")])
    await engine.delete("gone")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_commit_that_is_lost_is_done_exactly_once(
    engine: Engine, world: World, commits: Commits, database: Database, *, after: bool
) -> None:
    """Every commit of a whole life is lost once, before it was done or after: the outcome is always the same."""
    await everything(engine)
    total, history = commits.seen, [(e.cause, e.step, e.attempt, e.after) for e in await engine.history("w")]
    rows = await _rows(database)
    assert total >= 14
    commits.after = after
    for n in range(1, total + 1):
        await engine.delete("w")
        world.calls.clear()
        commits.seen, commits.fail_at = 0, n
        await everything(engine)
        commits.fail_at = 0
        assert commits.seen > total, f"commit {n} was done again"
        assert world.calls == ["one", "three", "three", "four"], f"commit {n}: each step as often as it should"
        workflow = await engine.get("w")
        assert workflow.context == {"start": 0, "begun": 1, "ended": 1, "tries": 2, "edited": 1}
        assert [(e.cause, e.step, e.attempt, e.after) for e in await engine.history("w")] == history
        assert await _rows(database) == rows, f"commit {n}: no row twice, none missing"
        assert (await engine.deleted())[-1].name == "gone"


async def _rows(database: Database) -> list[Any]:
    names = ("workflow", "step", "attempt", "event")
    counts = [await database.execute(f"SELECT COUNT(*) FROM awfe_{name}") for name in names]
    return [counts, await database.execute("SELECT rev, run_token FROM awfe_workflow")]


async def test_a_fenced_runner_writes_nothing(engine: Engine, world: World, database: Database) -> None:
    await engine.create_workflow("w", {}, [Note("one"), Hold("two", {"b": 1}), Note("three")])
    handle = await engine.start("w")
    await world.entered["two"].wait()
    await database.execute("UPDATE awfe_workflow SET run_token = run_token + 1, rev = rev + 1")
    before = await engine.get("w")
    world.gates["two"].set()
    with pytest.raises(LockLost, match="taken over"):
        await handle
    assert world.calls == ["one", "two"]
    after = await engine.get("w")
    assert (after.context, after.revision) == (before.context, before.revision)


async def test_a_checkpoint_of_a_fenced_runner_fails(engine: Engine, world: World, database: Database) -> None:
    await engine.create_workflow("w", {}, [Hold("one"), checkpoints()])
    handle = await engine.start("w")
    await world.entered["one"].wait()

    @engine.before_step
    async def steal(_ctx: Context) -> None:
        await database.execute("UPDATE awfe_workflow SET run_token = run_token + 1")

    world.gates["one"].set()
    with pytest.raises(LockLost):
        await handle
    assert (await engine.get("w")).context == {}


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
        await asyncio.sleep(0.2)
        await database.execute("UPDATE awfe_workflow SET run_token = run_token + 1")
        await kill(database, await _holder(database, key))
        await waiting
        with pytest.raises(LockLost):
            await handle
    assert world.cleaned == ["one"]
    assert world.calls == ["one"]


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
async def test_opening_waits_for_a_database_that_is_not_up_yet(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with Proxy(database.url) as proxy:
        await proxy.cut()
        engine = Engine(proxy.url, connect_retry_for=30)
        opening = asyncio.create_task(engine.open())
        await asyncio.sleep(1.5)
        assert not opening.done()
        await proxy.mend()
        await opening
        await engine.close()
    assert "does not answer" in caplog.text


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


@pytest.mark.databases("sqlite")
async def test_a_file_that_cannot_be_opened_is_store_unavailable(tmp_path: Any) -> None:
    with pytest.raises(StoreUnavailable, match="unable to open database file"):
        await Engine(f"sqlite:///{tmp_path}/no/such/folder/w.db", connect_retry_for=0).open()
    (tmp_path / "text.db").write_text("this is no database, but a text that is long enough to be read " * 20)
    with pytest.raises(StoreUnavailable, match="not a database"):
        await Engine(f"sqlite:///{tmp_path}/text.db", connect_retry_for=0).open()


async def test_a_cancelled_verb_leaves_nothing_half_written(engine: Engine, database: Database) -> None:
    """Cancelled at each of its awaits in turn, creating a workflow does all or nothing and leaks no connection."""
    created = refused = 0
    for awaits in range(60):
        task = asyncio.create_task(engine.create_workflow(f"w{awaits}", {"a": 1}, [Note("one"), Note("two")]))
        for _ in range(awaits):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        try:
            workflow = await engine.get(f"w{awaits}")
        except WorkflowNotFound:
            refused += 1
            await engine.create_workflow(f"w{awaits}", {"a": 1}, [Note("one"), Note("two")])
        else:
            created += 1
            assert len(workflow.steps) == 2
            assert workflow.context == {"a": 1}
            with pytest.raises(WorkflowExists):
                await engine.create_workflow(f"w{awaits}", {"a": 1}, [Note("one"), Note("two")])
    assert refused > 0
    assert engine._database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # its pools can tell
    rows = await database.execute("SELECT COUNT(*) FROM awfe_step")
    assert rows == [(120,)]


async def test_run_cancelled_at_any_await_leaves_it_runnable(engine: Engine, world: World) -> None:
    for awaits in range(0, 120, 2):
        name = f"w{awaits}"
        await engine.create_workflow(name, {}, [Note("one"), Note("two")])
        task = asyncio.create_task(engine.run(name))
        for _ in range(awaits):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError, AwfeError):
            await task
        workflow = await engine.get(name)
        assert workflow.state in {"pending", "stopped", "completed"}
        if workflow.state == "stopped":
            await engine.reset(name)
        assert (await engine.run(name)).state == "completed"
    assert engine._database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # its pools can tell
    assert len(asyncio.all_tasks()) < 10
    assert world.calls
