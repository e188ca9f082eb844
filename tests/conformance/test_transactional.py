"""A transactional step: what it writes is stored together with its end, or not at all."""

from contextlib import suppress

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from awfe import (
    Context,
    Engine,
    InvalidInput,
    Retry,
    StepError,
    TransactionalStep,
)
from awfe.steps import Sql
from awfe.testing.invariants import violations
from tests.conformance.conftest import OpenEngine
from tests.conformance.steps import Note, World
from tests.conformance.transactional_steps import PAY, Doing, Pay, doing, in_use, make_table, paid
from tests.databases import Database


@pytest.fixture(autouse=True)
async def _table(database: Database) -> None:
    await make_table(database)


async def test_rows_and_context_are_stored_together(engine: Engine, database: Database, world: World) -> None:
    await engine.create_workflow("w", {}, [Pay("one", {"a": 1}), Note("two"), Pay("three", {"c": 3})])
    workflow = await engine.run("w")
    assert (workflow.state, workflow.context) == ("completed", {"a": 1, "c": 3})
    assert await paid(database) == ["one", "three"]
    assert world.calls == ["one 1", "two", "three 1"]
    assert await violations(database.url) == []
    await in_use(engine, 0)


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
    await in_use(engine, 0)


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
    await in_use(engine, 0)


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
    await in_use(engine, 0)


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


@pytest.mark.databases("postgresql")
async def test_a_deferred_constraint_is_the_steps_error(engine: Engine, database: Database) -> None:
    await database.execute("ALTER TABLE paid ADD UNIQUE (name) DEFERRABLE INITIALLY DEFERRED")

    async def twice(_ctx: Context, session: AsyncSession) -> None:
        for _ in range(2):
            await session.execute(PAY, {"name": "one"})

    await engine.create_workflow("w", {}, [doing(twice)])
    with pytest.raises(StepError) as failed:
        await engine.run("w")
    assert isinstance(failed.value.__cause__, IntegrityError)
    assert (await engine.get("w")).steps[0].state == "error"
    assert await paid(database) == []


@pytest.mark.databases("sqlite")
async def test_what_fails_in_the_commit_is_the_steps_error(open_engine: OpenEngine, database: Database) -> None:
    """SQLite can't be asked before."""
    theirs = create_async_engine(database.url)
    event.listen(theirs.sync_engine, "connect", lambda driver, _: driver.execute("PRAGMA foreign_keys = ON").close())
    engine = await open_engine(theirs)
    await database.execute("CREATE TABLE bill (name TEXT REFERENCES taken (name) DEFERRABLE INITIALLY DEFERRED)")
    steps = [Sql("INSERT INTO bill VALUES (:name)").using(retry=Retry(attempts=2)), Note("after")]
    await engine.create_workflow("w", {"name": "x"}, steps)
    with pytest.raises(StepError, match=r"IntegrityError: .*FOREIGN KEY constraint failed") as failed:
        await engine.run("w")
    assert isinstance(failed.value.__cause__, IntegrityError)
    assert await database.execute("SELECT * FROM bill") == []
    workflow = await engine.get("w")
    assert (workflow.state, workflow.steps[0].state, workflow.steps[0].attempt) == ("error", "error", 2)
    await database.execute("INSERT INTO taken VALUES ('x')")
    assert (await engine.restart("w")).state == "completed"
    assert await database.execute("SELECT * FROM bill") == [("x",)]
    assert await violations(database.url) == []
    await theirs.dispose()


class Base(DeclarativeBase):
    """Of a program that has models."""


class Taken(Base):
    """A row."""

    __tablename__ = "taken"
    name: Mapped[str] = mapped_column(primary_key=True)


async def test_what_the_session_holds_is_sent_before_the_end(engine: Engine, database: Database) -> None:
    async def add(_ctx: Context, session: AsyncSession) -> None:
        session.add(Taken(name="x"))

    for name in ("one", "two"):
        await engine.create_workflow(name, {}, [doing(add)])
    await engine.run("one")
    assert await database.execute("SELECT * FROM taken") == [("x",)]
    with pytest.raises(StepError) as failed:
        await engine.run("two")
    assert isinstance(failed.value.__cause__, IntegrityError)


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


async def test_a_step_must_take_the_session(engine: Engine) -> None:
    class WithoutSession(Doing):
        async def work(self, ctx: Context) -> None:  # type: ignore[override]  # that is what is wrong
            """Do nothing."""

    class Unwritten(TransactionalStep):
        pass

    for wrong in (WithoutSession(), Unwritten()):
        with pytest.raises(InvalidInput, match=r"write 'async def work\(self, ctx, session\)'"):
            await engine.create_workflow("w", {}, [wrong])
