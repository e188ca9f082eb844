"""A transactional step: what it writes is stored together with its end, or not at all."""

import asyncio
from contextlib import suppress

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from awfe import (
    Context,
    Engine,
    InvalidInput,
    Retry,
    StepError,
    StepTimeout,
    TransactionalStep,
    WorkflowHalted,
    WorkflowState,
)
from awfe.testing.invariants import violations
from tests.conformance.conftest import OpenEngine
from tests.conformance.steps import Note, World
from tests.conformance.transactional_steps import PAY, Doing, Pay, PayAtGate, doing, make_table, paid
from tests.databases import Database


@pytest.fixture(autouse=True)
async def _table(database: Database) -> None:
    await make_table(database)


def checkedout(engine: Engine) -> int:
    """Return how many data connections are in use."""
    return engine._database.engine.pool.checkedout()  # type: ignore[attr-defined, no-any-return]  # a queue pool


async def test_rows_and_context_are_stored_together(engine: Engine, database: Database, world: World) -> None:
    await engine.create_workflow("w", {}, [Pay("one", {"a": 1}), Note("two"), Pay("three", {"c": 3})])
    workflow = await engine.run("w")
    assert (workflow.state, workflow.context) == ("completed", {"a": 1, "c": 3})
    assert await paid(database) == ["one", "three"]
    assert world.calls == ["one 1", "two", "three 1"]
    assert await violations(database.url) == []
    assert checkedout(engine) == 0


async def test_a_failure_undoes_its_rows_and_is_saved(engine: Engine, database: Database, world: World) -> None:
    world.failing["one"] = ValueError("no")
    await engine.create_workflow("w", {}, [Pay("one", {"a": 1})])
    with pytest.raises(StepError, match="ValueError: no"):
        await engine.run("w")
    assert await paid(database) == []
    assert (await engine.get("w")).context == {}
    world.failing.clear()
    assert (await engine.restart("w")).context == {"a": 1}
    assert await paid(database) == ["one"]
    assert world.calls == ["one 1", "one 2"]
    assert checkedout(engine) == 0


async def test_retries_are_attempts_with_transactions_of_their_own(engine: Engine, database: Database) -> None:
    async def fail_once(ctx: Context, session: AsyncSession) -> None:
        await session.execute(PAY, {"name": str(ctx.step.attempt)})
        if ctx.step.attempt == 1:
            raise ValueError

    await engine.create_workflow("w", {}, [doing(fail_once).using(retry=Retry(attempts=2, wait=0))])
    await engine.run("w")
    assert await paid(database) == ["2"]


async def test_a_statement_that_fails_is_the_steps_error(engine: Engine, database: Database) -> None:
    async def twice(_ctx: Context, session: AsyncSession) -> None:
        for _ in range(2):
            await session.execute(text("INSERT INTO taken (name) VALUES ('x')"))

    await engine.create_workflow("w", {}, [doing(twice)])
    with pytest.raises(StepError) as failed:
        await engine.run("w")
    assert isinstance(failed.value.__cause__, IntegrityError)
    assert await database.execute("SELECT * FROM taken") == []


async def test_a_part_can_be_undone(engine: Engine, database: Database) -> None:
    async def part(_ctx: Context, session: AsyncSession) -> None:
        await session.execute(text("INSERT INTO taken (name) VALUES ('x')"))
        with suppress(IntegrityError):
            async with session.begin_nested():
                await session.execute(PAY, {"name": "undone"})
                await session.execute(text("INSERT INTO taken (name) VALUES ('x')"))
        await session.execute(PAY, {"name": "stays"})

    await engine.create_workflow("w", {}, [doing(part)])
    await engine.run("w")
    assert await paid(database) == ["stays"]
    assert checkedout(engine) == 0


async def test_a_session_used_as_a_transaction_is_fine(engine: Engine, database: Database) -> None:
    async def begin(_ctx: Context, session: AsyncSession) -> None:
        async with session.begin():
            await session.execute(PAY, {"name": "one"})
        await session.execute(PAY, {"name": "two"})

    await engine.create_workflow("w", {}, [doing(begin)])
    await engine.run("w")
    assert await paid(database) == ["one", "two"]


@pytest.mark.parametrize("verb", ["commit", "rollback", "close", "reset", "invalidate"])
async def test_the_transaction_is_not_the_steps_to_end(engine: Engine, database: Database, verb: str) -> None:
    async def end(_ctx: Context, session: AsyncSession) -> None:
        await session.execute(PAY, {"name": "one"})
        await getattr(session, verb)()

    await engine.create_workflow("w", {}, [doing(end)])
    with pytest.raises(StepError, match=rf"InvalidInput: session\.{verb}\(\): the engine ends this transaction"):
        await engine.run("w")
    assert await paid(database) == []


async def _commit_connection(session: AsyncSession) -> None:
    await (await session.connection()).commit()


async def _roll_back_connection(session: AsyncSession) -> None:
    await (await session.connection()).rollback()


async def _commit_transaction(session: AsyncSession) -> None:
    transaction = (await session.connection()).get_transaction()
    assert transaction is not None
    await transaction.commit()


async def _roll_back_by_sql(session: AsyncSession) -> None:
    await session.execute(text("ROLLBACK"))


@pytest.mark.parametrize("swallowed", [False, True])
@pytest.mark.parametrize(
    "end", [_commit_connection, _roll_back_connection, _commit_transaction, _roll_back_by_sql], ids=lambda f: f.__name__
)
async def test_nor_by_a_back_door(engine: Engine, database: Database, end: object, *, swallowed: bool) -> None:
    async def sneak(_ctx: Context, session: AsyncSession) -> None:
        await session.execute(PAY, {"name": "one"})
        with suppress(InvalidInput if swallowed else ZeroDivisionError):
            await end(session)  # type: ignore[operator]  # one of the functions above
        await session.execute(PAY, {"name": "two"})

    await engine.create_workflow("w", {}, [doing(sneak)])
    with pytest.raises(StepError):
        await engine.run("w")
    assert await paid(database) == []
    assert (await engine.get("w")).state == "error"
    assert checkedout(engine) == 0


async def test_a_commit_by_sql_is_an_error(engine: Engine, database: Database) -> None:
    async def commit(_ctx: Context, session: AsyncSession) -> None:
        await session.execute(PAY, {"name": "one"})
        await session.execute(text("COMMIT"))
        await session.execute(PAY, {"name": "two"})

    await engine.create_workflow("w", {}, [doing(commit)])
    with pytest.raises(StepError, match="has ended its transaction"):
        await engine.run("w")
    assert await paid(database) == ["one"]
    assert (await engine.get("w")).steps[0].state == "error"


@pytest.mark.databases("mysql")
async def test_a_statement_that_commits_is_an_error(engine: Engine, database: Database) -> None:
    async def create(_ctx: Context, session: AsyncSession) -> None:
        await session.execute(text("CREATE TABLE made (id INT)"))
        await session.execute(PAY, {"name": "one"})

    await engine.create_workflow("w", {}, [doing(create)])
    with pytest.raises(StepError, match="as CREATE TABLE does on MySQL"):
        await engine.run("w")
    assert await paid(database) == []


async def test_an_error_that_was_swallowed_stores_no_half(engine: Engine, database: Database) -> None:
    async def swallow(_ctx: Context, session: AsyncSession) -> None:
        await session.execute(text("INSERT INTO taken (name) VALUES ('x')"))
        with suppress(DBAPIError):
            await session.execute(text("INSERT INTO taken (name) VALUES ('x')"))
        with suppress(DBAPIError):
            await session.execute(PAY, {"name": "one"})

    await engine.create_workflow("w", {}, [doing(swallow)])
    if database.dialect != "postgresql":
        # There the statement alone has failed, and the step may go on.
        await engine.run("w")
        assert await paid(database) == ["one"]
        return
    with pytest.raises(StepError, match="its error was swallowed"):
        await engine.run("w")
    assert await paid(database) == []
    assert (await engine.get("w")).steps[0].state == "error"


async def test_a_checkpoint_is_refused(engine: Engine, database: Database) -> None:
    async def save(ctx: Context, session: AsyncSession) -> None:
        await session.execute(PAY, {"name": "one"})
        await ctx.checkpoint()

    await engine.create_workflow("w", {}, [doing(save)])
    with pytest.raises(StepError, match="a transactional step can't checkpoint"):
        await engine.run("w")
    assert await paid(database) == []


async def test_what_cannot_be_kept_undoes_the_rows(engine: Engine, database: Database) -> None:
    async def keep(ctx: Context, session: AsyncSession) -> None:
        await session.execute(PAY, {"name": "one"})
        ctx["list"] = []
        ctx["list"].append({1, 2})

    await engine.create_workflow("w", {}, [doing(keep)])
    with pytest.raises(StepError, match="ContextError"):
        await engine.run("w")
    assert await paid(database) == []


# --- pause, stop, time-out, cancel, close


async def test_a_stop_undoes_and_lets_go(engine: Engine, database: Database, world: World) -> None:
    await engine.create_workflow("w", {}, [PayAtGate("one"), Note("two")])
    handle = await engine.start("w")
    await world.entered["one"].wait()
    assert checkedout(engine) == 1
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
    assert checkedout(engine) == 0
    world.gates["one"].set()
    await engine.restart("w")
    assert await paid(database) == ["one"]


@pytest.mark.databases("mysql", "postgresql")
@pytest.mark.parametrize(("verb", "state"), [("pause", "paused"), ("stop", "stopped")])
async def test_a_request_that_turns_up_at_the_commit_is_heeded(
    open_engine: OpenEngine, database: Database, world: World, verb: str, state: str
) -> None:
    """Asked through another engine, and unseen by the runner until its own statement finds it."""
    engine, other = await open_engine(poll_interval=600.0), await open_engine(poll_interval=600.0)
    engine._steering.lookout.look = _nothing  # type: ignore[attr-defined]  # deaf to bells
    await engine.create_workflow("w", {}, [PayAtGate("one", {"a": 1}), Note("two")])
    handle = await engine.start("w")
    await world.entered["one"].wait()
    asked = asyncio.create_task(getattr(other, verb)("w", *([30] if verb == "stop" else [])))
    await asyncio.wait({asked})
    world.gates["one"].set()
    with pytest.raises(WorkflowHalted):
        await handle
    workflow = await engine.get("w")
    if workflow.position == 2:
        assert (workflow.state, workflow.context, await paid(database)) == (state, {"a": 1}, ["one"])
        assert world.calls == ["one 1"]
    else:
        # The bell was heard first, and the stop cut it off.
        assert (verb, await paid(database)) == ("stop", [])


async def _nothing(*_args: object) -> None:
    """Hear nothing."""


async def test_a_timeout_undoes(engine: Engine, database: Database) -> None:
    await engine.create_workflow("w", {}, [PayAtGate("one").using(timeout=0.2)])
    with pytest.raises(StepTimeout):
        await engine.run("w")
    assert await paid(database) == []
    assert checkedout(engine) == 0


async def test_a_cancelled_caller_undoes(engine: Engine, database: Database, world: World) -> None:
    await engine.create_workflow("w", {}, [PayAtGate("one")])
    run = asyncio.create_task(engine.run("w"))
    await world.entered["one"].wait()
    run.cancel()
    await asyncio.wait({run})
    assert run.cancelled()
    assert await paid(database) == []
    assert (await engine.get("w")).state == "stopped"
    assert checkedout(engine) == 0


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
    assert checkedout(engine) == 0
    assert await paid(database) == []
    world.gates["stubborn"].set()
    async with asyncio.timeout(10):
        while engine._steering.control:
            await asyncio.sleep(0.01)
    assert len(late) == 2
    assert await paid(database) == []
    assert checkedout(engine) == 0


# --- again


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
    assert checkedout(engine) == 0


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
    assert checkedout(engine) == 0


async def test_a_step_must_take_the_session(engine: Engine) -> None:
    class WithoutSession(Doing):
        async def work(self, ctx: Context) -> None:  # type: ignore[override]  # that is what is wrong
            """Do nothing."""

    class Unwritten(TransactionalStep):
        pass

    for wrong in (WithoutSession(), Unwritten()):
        with pytest.raises(InvalidInput, match=r"write 'async def work\(self, ctx, session\)'"):
            await engine.create_workflow("w", {}, [wrong])
