"""The step `Sql`: one statement, in the engine's database exactly once, or in another at least once."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import IntegrityError

from awfe import ConfigError, Engine, InvalidInput, StepError
from awfe.domain.step import policies_of
from awfe.steps import Sql
from awfe.testing.invariants import violations
from tests.databases import Database

TABLE = "CREATE TABLE stock (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(40) NOT NULL, price DECIMAL(9, 2))"
INSERT = "INSERT INTO stock (id, name) VALUES (:id, :name)"


@pytest.fixture(autouse=True)
async def _table(database: Database) -> None:
    await database.execute(TABLE)


async def ran(engine: Engine, step: Sql, context: dict[str, Any] | None = None) -> Any:
    """Return the context after a workflow of this step."""
    await engine.create_workflow("w", context, [step])
    return (await engine.run("w")).context


async def stock(database: Database) -> list[Any]:
    """Return what is there."""
    return await database.execute("SELECT id, name FROM stock ORDER BY id")


async def test_values_are_bound_from_params_then_from_the_context(engine: Engine, database: Database) -> None:
    hostile = "x'); DROP TABLE stock; -- :id %s {id}"
    context = await ran(engine, Sql(INSERT, {"id": 1}, save_as="changed"), {"name": hostile, "id": 7})
    assert context["changed"] == 1
    assert await stock(database) == [(1, hostile)]
    assert await violations(database.url) == []


async def test_what_is_missing_is_said_before_anything_runs(engine: Engine, database: Database) -> None:
    with pytest.raises(
        StepError, match=r"InvalidInput: .*neither params nor the context has 'name'; the context has id"
    ):
        await ran(engine, Sql(INSERT), {"id": 1})
    assert await stock(database) == []


async def test_rows_are_saved_as_values_that_can_be(engine: Engine, database: Database) -> None:
    await database.execute("INSERT INTO stock (id, name, price) VALUES (1, 'a', 1.50), (2, 'b', NULL), (3, 'c', 3)")
    price = "CAST(price AS CHAR)" if database.dialect == "sqlite" else "price"
    select = f"SELECT id, name, {price} AS price FROM stock WHERE id IN :ids ORDER BY id"
    context = await ran(engine, Sql(select, {"ids": [1, 2]}, save_as="rows"))
    first = {"id": 1, "name": "a", "price": "1.5" if database.dialect == "sqlite" else "1.50"}
    assert context["rows"] == [first, {"id": 2, "name": "b", "price": None}]


async def test_an_empty_list_finds_nothing(engine: Engine, database: Database) -> None:
    await database.execute("INSERT INTO stock (id, name) VALUES (1, 'a')")
    assert await ran(engine, Sql("SELECT id FROM stock WHERE id IN :ids", save_as="rows"), {"ids": []}) == {
        "ids": [],
        "rows": [],
    }


@pytest.mark.databases("mysql", "postgresql")
async def test_times_become_texts(engine: Engine) -> None:
    select = "SELECT CAST('2024-02-29 12:30:00' AS {}) AS at, CAST('2024-02-29' AS DATE) AS day"
    kind = "DATETIME" if engine._database.kind == "mysql" else "TIMESTAMP"
    context = await ran(engine, Sql(select.format(kind), save_as="rows"))
    assert context["rows"] == [{"at": "2024-02-29T12:30:00", "day": "2024-02-29"}]


async def test_what_cannot_be_saved_is_the_steps_error(engine: Engine, database: Database) -> None:
    binary = {"sqlite": "x'00'", "mysql": "x'00'", "postgresql": "'\\x00'::bytea"}[database.dialect]
    with pytest.raises(StepError, match="the column 'bad' has a bytes, which can't be saved"):
        await ran(engine, Sql(f"SELECT {binary} AS bad", save_as="rows"))


async def test_columns_of_one_name_and_too_many_rows_are_refused(engine: Engine, database: Database) -> None:
    await engine.create_workflow("twice", {}, [Sql("SELECT id, id FROM stock", save_as="rows")])
    with pytest.raises(StepError, match="two columns are called 'id'"):
        await engine.run("twice")
    rows = ", ".join(f"({n}, 'n')" for n in range(1001))
    await database.execute(f"INSERT INTO stock (id, name) VALUES {rows}")
    with pytest.raises(StepError, match="more than 1000 rows"):
        await ran(engine, Sql("SELECT id FROM stock", save_as="rows"))


async def test_a_failing_statement_is_the_steps_error(engine: Engine, database: Database) -> None:
    await database.execute("INSERT INTO stock (id, name) VALUES (1, 'a')")
    with pytest.raises(StepError) as failed:
        await ran(engine, Sql(INSERT), {"id": 1, "name": "secret-value"})
    assert isinstance(failed.value.__cause__, IntegrityError)
    assert "secret-value" not in str(failed.value)


@pytest.mark.databases("mysql")
async def test_what_commits_by_itself_is_refused_before_it_runs(engine: Engine, database: Database) -> None:
    with pytest.raises(StepError, match="MySQL commits at CREATE, so no transaction can have it; give url"):
        await ran(engine, Sql("-- a comment\nCREATE TABLE made (id INT)"))
    assert await database.execute("SHOW TABLES LIKE 'made'") == []


async def test_another_database_by_the_name_of_a_variable(
    engine: Engine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOCK_URL", database.url)
    step = Sql(INSERT, {"id": 5, "name": "x"}, url="STOCK_URL", save_as="changed")
    assert (await ran(engine, step))["changed"] == 1
    assert await stock(database) == [(5, "x")]
    assert "STOCK_URL" in str((await engine.get("w")).steps[0].args)
    password = make_url(database.url).password
    assert password is None or password not in str((await engine.get("w")).to_dict())


async def test_a_variable_that_is_not_set_is_said(engine: Engine) -> None:
    with pytest.raises(StepError, match="ConfigError: url='NOT_SET_HERE': there is no such environment variable"):
        await ran(engine, Sql("SELECT 1", url="NOT_SET_HERE"))


@pytest.mark.databases("mysql", "postgresql")
async def test_elsewhere_a_statement_is_cut_off_and_leaves_no_connection(
    engine: Engine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOCK_URL", database.url)
    sleep = "SELECT SLEEP(60)" if database.dialect == "mysql" else "SELECT pg_sleep(60)"
    await engine.create_workflow("w", {}, [Sql(sleep, url="STOCK_URL").using(timeout=0.3)])
    before = len(await database.sessions())
    with pytest.raises(StepError, match="TimeoutError"):
        await engine.run("w")
    async with asyncio.timeout(20):
        # A server may notice only later that nobody waits for the answer; the client's side is closed at once.
        while len(await database.sessions()) > before + 2:
            await asyncio.sleep(0.05)


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        (("",), {}, "give one statement"),
        ((5,), {}, "give one statement"),
        (("SELECT 1", [1]), {}, "give a dict"),
        (("SELECT :a", {"b": 1}), {}, "params has 'b', but the statement has no :b"),
        (("SELECT 1",), {"save_as": 5}, "save_as=5"),
        (("COMMIT",), {}, "the engine begins and ends the transaction"),
        (("/* so */ begin",), {}, "the engine begins and ends the transaction"),
        (("SELECT 1",), {"url": "mysql://me:hunter2@host/db"}, "url has a password in it"),
        (("SELECT 1",), {"url": "postgresql://me@host/db?password=hunter2"}, "url has a password in it"),
        (("SELECT 1",), {"url": "no url"}, "url: give the URL of a database without a password"),
    ],
)
def test_bad_arguments_are_refused(
    database: Database, arguments: tuple[Any, ...], options: dict[str, Any], says: str
) -> None:
    assert database.dialect == "sqlite"
    with pytest.raises(InvalidInput, match=says) as refused:
        Sql(*arguments, **options)
    assert "hunter2" not in str(refused.value)


@pytest.mark.databases("sqlite")
async def test_what_it_declares(engine: Engine) -> None:
    with pytest.raises(ConfigError, match="is not supported"):
        Sql("SELECT 1", url="oracle://host/db")
    assert policies_of(Sql("SELECT 1")).on_interrupt == "rerun"
    assert policies_of(Sql("SELECT 1", url="X")).on_interrupt == "pause"
    assert policies_of(Sql("SELECT 1", url="X").using(on_interrupt="rerun")).on_interrupt == "rerun"
    with pytest.raises(StepError, match=":a is a dict"):
        await ran(engine, Sql("SELECT :a", {"a": {}}))
