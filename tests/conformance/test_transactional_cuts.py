"""A transactional step that is cut off, loses its connection, or meets others: it stores all or nothing, and once."""

import asyncio
import sqlite3
from contextlib import suppress

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from awfe import Context, Engine, Sleep, StepError, StepTimeout, StoreUnavailable, WorkflowHalted, WorkflowState
from tests.conformance.conftest import QUICK, OpenEngine
from tests.conformance.steps import Note, World
from tests.conformance.transactional_steps import (
    PAY,
    Pay,
    PayAtGate,
    commits_of_steps_deadlock,
    doing,
    in_use,
    make_table,
    paid,
)
from tests.databases import Database


@pytest.fixture(autouse=True)
async def _table(database: Database) -> None:
    await make_table(database)


async def test_a_stop_undoes_and_lets_go(engine: Engine, database: Database, world: World) -> None:
    await engine.create_workflow("w", {}, [PayAtGate("one"), Note("two")])
    handle = await engine.start("w")
    await world.entered["one"].wait()
    await in_use(engine, 1)
    run = engine._steering.control.get("w")
    assert run is not None
    if database.dialect == "sqlite":
        # There the request can't be stored beside the step's transaction: it is told in memory, as by a cancelled run.
        run._cancelled()
    else:
        await engine.stop("w")
    with pytest.raises(WorkflowHalted):
        await handle
    assert await paid(database) == []
    assert (await engine.get("w")).state == "stopped"
    await in_use(engine, 0)
    world.gates["one"].set()
    await engine.restart("w")
    assert await paid(database) == ["one"]


async def test_a_timeout_undoes(engine: Engine, database: Database) -> None:
    await engine.create_workflow("w", {}, [PayAtGate("one").using(timeout=0.2)])
    with pytest.raises(StepTimeout):
        await engine.run("w")
    assert await paid(database) == []
    await in_use(engine, 0)


async def test_a_cancelled_caller_undoes(engine: Engine, database: Database, world: World) -> None:
    await engine.create_workflow("w", {}, [PayAtGate("one")])
    run = asyncio.create_task(engine.run("w"))
    await world.entered["one"].wait()
    run.cancel()
    await asyncio.wait({run})
    assert run.cancelled()
    assert await paid(database) == []
    assert (await engine.get("w")).state == "stopped"
    await in_use(engine, 0)


async def test_a_close_undoes_and_another_engine_goes_on(
    open_engine: OpenEngine, database: Database, world: World
) -> None:
    engine = await open_engine(shutdown_grace=0.0)
    await engine.create_workflow("w", {}, [PayAtGate("one")])
    await engine.start("w")
    await world.entered["one"].wait()
    await engine.close()
    assert await paid(database) == []
    other = await open_engine()
    assert (await other.get("w")).state == "paused"
    world.gates["one"].set()
    assert (await other.recover()).started == ("w",)
    assert (await other.wait("w")).state == "completed"
    assert await paid(database) == ["one"]


async def test_what_a_fenced_body_writes_later_is_never_stored(
    open_engine: OpenEngine, database: Database, world: World
) -> None:
    engine = await open_engine(stop_grace=0.1)
    late: list[BaseException] = []

    async def stubborn(_ctx: Context, session: AsyncSession) -> None:
        await session.execute(PAY, {"name": "one"})
        connection = await session.connection()
        world.entered["stubborn"].set()
        while not world.gates["stubborn"].is_set():
            with suppress(asyncio.CancelledError):
                await world.gates["stubborn"].wait()
        for use in (session, connection):
            try:
                await use.execute(PAY, {"name": "late"})
                await use.commit()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is looked at
                late.append(error)

    await engine.create_workflow("w", {}, [doing(stubborn)])
    handle = await engine.start("w")
    await world.entered["stubborn"].wait()
    engine._steering.control.get("w")._cancelled()  # type: ignore[union-attr]  # a stop that needs no row
    with pytest.raises(WorkflowHalted):
        await handle
    await in_use(engine, 0)
    assert await paid(database) == []
    world.gates["stubborn"].set()
    async with asyncio.timeout(10):
        while engine._steering.control:
            await asyncio.sleep(0.01)
    assert len(late) == 2
    assert await paid(database) == []
    await in_use(engine, 0)


@pytest.mark.databases("sqlite")
async def test_a_transaction_that_begins_when_the_attempt_is_over_is_given_up(
    open_engine: OpenEngine, database: Database, world: World
) -> None:
    """Another program writes to the file, and the step has not got its turn when its grace is over."""
    engine = await open_engine(stop_grace=0.1)
    other = sqlite3.connect(make_url(database.url).database or "", isolation_level=None)

    @engine.before_step
    async def write(_ctx: Context) -> None:
        other.execute("BEGIN IMMEDIATE")
        asyncio.get_running_loop().call_later(0.2, world.entered["waits"].set)

    await engine.create_workflow("w", {}, [Pay("one")])
    handle = await engine.start("w")
    await world.entered["waits"].wait()
    run = engine._steering.control.get("w")
    assert run is not None
    run._cancelled()
    assert run._attempt is not None
    async with asyncio.timeout(10):
        while not run._attempt._is_over:
            await asyncio.sleep(0.01)
    assert run._attempt.alive
    other.execute("ROLLBACK")
    other.close()
    with pytest.raises(WorkflowHalted):
        await handle
    async with asyncio.timeout(20):
        while engine._steering.control:
            await asyncio.sleep(0.01)
    await in_use(engine, 0)
    assert (world.calls, await paid(database)) == ([], [])


@pytest.mark.databases("mysql", "postgresql")
async def test_a_lost_connection_lets_the_body_run_again(engine: Engine, database: Database, world: World) -> None:
    async def die_once(ctx: Context, session: AsyncSession) -> None:
        await session.execute(PAY, {"name": "one"})
        ctx["runs"] = ctx.get("runs", 0) + 1
        if len(world.calls) == 1:
            me, kill = KILL[database.dialect]
            number = (await session.execute(text(me))).scalar_one()
            await database.execute(kill.format(number))
        await session.execute(PAY, {"name": "two"})

    await engine.create_workflow("w", {}, [doing(die_once)])
    workflow = await engine.run("w")
    assert (workflow.context, workflow.steps[0].attempt) == ({"runs": 1}, 1)
    assert world.calls == ["doing 1", "doing 1"]
    assert await paid(database) == ["one", "two"]
    await in_use(engine, 0)


KILL = {
    "mysql": ("SELECT CONNECTION_ID()", "KILL {}"),
    "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
}


@pytest.mark.databases("mysql", "postgresql")
@pytest.mark.parametrize("swallowed", [False, True])
async def test_of_two_that_deadlock_one_runs_again(
    engine: Engine, database: Database, world: World, *, swallowed: bool
) -> None:
    await database.execute("INSERT INTO taken (name) VALUES ('a'), ('b')")
    lock = text("SELECT name FROM taken WHERE name = :name FOR UPDATE")

    async def cross(ctx: Context, session: AsyncSession) -> None:
        await session.execute(PAY, {"name": ctx.workflow})
        first, second = "ab" if ctx.workflow == "one" else "ba"
        await session.execute(lock, {"name": first})
        world.entered[ctx.workflow].set()
        await world.entered["two" if ctx.workflow == "one" else "one"].wait()
        with suppress(DBAPIError if swallowed else ZeroDivisionError):
            await session.execute(lock, {"name": second})
        with suppress(DBAPIError if swallowed else ZeroDivisionError):
            await session.execute(PAY, {"name": f"{ctx.workflow}, then"})

    for name in ("one", "two"):
        await engine.create_workflow(name, {}, [doing(cross)])
    await asyncio.gather(engine.run("one"), engine.run("two"))
    assert len(world.calls) == 3
    assert await paid(database) == ["one", "one, then", "two", "two, then"]


async def test_a_timeout_of_the_steps_own_is_its_failure(engine: Engine, database: Database, world: World) -> None:
    async def give_up(_ctx: Context, session: AsyncSession) -> None:
        await session.execute(PAY, {"name": "one"})
        raise TimeoutError

    await engine.create_workflow("w", {}, [doing(give_up)])
    with pytest.raises(StepError, match="TimeoutError"):
        await engine.run("w")
    assert world.calls == ["doing 1"]
    assert await paid(database) == []


@pytest.mark.databases("mysql", "postgresql")
async def test_no_more_than_half_of_the_connections_are_theirs(
    open_engine: OpenEngine, database: Database, world: World
) -> None:
    engine = await open_engine(pool_size=5)
    names = [f"w{n}" for n in range(5)]
    for name in names:
        await engine.create_workflow(name, {}, [PayAtGate(name)])
    handles = [await engine.start(name) for name in names]
    async with asyncio.timeout(20):
        while (await engine.stats())[WorkflowState.RUNNING] < len(names) or len(world.calls) < 2:
            await asyncio.sleep(0.01)
    assert len(world.calls) == 2
    # One that stands in line for a transaction can be stopped.
    waiting = next(name for name in names if f"{name} 1" not in world.calls)
    await engine.stop(waiting)
    names.remove(waiting)
    for name in names:
        world.gates[name].set()
    ends = await asyncio.gather(*handles, return_exceptions=True)
    assert [type(end).__name__ for end in ends].count("WorkflowStopped") == 1
    assert await paid(database) == names
    await in_use(engine, 0)


async def test_a_commit_that_fails_for_too_long_is_given_up(database: Database, world: World) -> None:
    engine = Engine(database.url, **(QUICK | {"db_retry_for": 0.3}))
    deadlocks = commits_of_steps_deadlock(engine)
    async with engine:
        await engine.create_workflow("w", {}, [Pay("one")])
        with pytest.raises(StoreUnavailable, match=r"step Pay: its transaction could not be committed for 0\.3 s"):
            await engine.run("w")
        deadlocks.heal()
        async with asyncio.timeout(30):
            while (await engine.get("w")).state == "running":
                await asyncio.sleep(0.02)
        # Nothing of it is stored, so it may be done again.
        assert ((await engine.get("w")).state, await paid(database)) == ("paused", [])
        assert (await engine.run("w")).state == "completed"
    assert deadlocks.hits > 1, "it was tried again"
    assert world.calls[-1] == "one 2"
    assert await paid(database) == ["one"]


async def test_a_step_can_not_wait_in_its_transaction(engine: Engine, database: Database) -> None:
    async def wait(_ctx: Context, session: AsyncSession) -> Sleep:
        await session.execute(PAY, {"name": "one"})
        return Sleep(1)

    await engine.create_workflow("w", {}, [doing(wait)])
    with pytest.raises(StepError, match="a transactional step can't wait"):
        await engine.run("w")
    assert await paid(database) == []


async def test_one_that_the_step_has_ended_is_not_done_again(engine: Engine, database: Database, world: World) -> None:
    async def end(_ctx: Context, session: AsyncSession) -> None:
        world.calls.append("end")
        connection = await session.connection()
        await connection.rollback()
        for again in (lambda: session.execute(PAY, {"name": "one"}), connection.commit):
            with suppress(Exception):
                await again()

    await engine.create_workflow("w", {}, [doing(end)])
    with pytest.raises(StepError, match="has ended its transaction"):
        await engine.run("w")
    assert (world.calls.count("end"), await paid(database)) == (1, [])
