"""Tables of an older awfe become those of this one: the same as fresh ones, with all that was in them."""

import asyncio
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.engine import Engine as SyncEngine

import awfe
from awfe import ConfigError, Engine, SchemaOutdated, Settings, StepError
from awfe.cli.app import run
from awfe.persistence import health, migrations, schema
from awfe.testing import violations
from tests.conformance import older
from tests.conformance.conftest import QUICK
from tests.conformance.steps import Note, World
from tests.conformance.tables import described, drop_all
from tests.databases import Database


@pytest.fixture
def older_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there have been a schema 0."""
    monkeypatch.setattr(migrations, "SCRIPTS", Path(older.__file__).parent)


async def changed(database: Database, change: Callable[[Connection], None]) -> None:
    """Change the tables."""
    async with database._engine.begin() as connection:
        await connection.run_sync(change)


def from_nothing(connection: Connection) -> None:
    """Run all scripts of the package."""
    operations = Operations(MigrationContext.configure(connection))
    for script in reversed(list(ScriptDirectory(migrations.SCRIPTS).walk_revisions())):
        script.module.upgrade(operations)
    schema.create_view(connection)


def make_older(connection: Connection) -> None:
    """Make the tables those of schema 0."""
    schema.drop_view(connection)
    script = ScriptDirectory(Path(older.__file__).parent).get_revision("0001")
    script.module.downgrade(Operations(MigrationContext.configure(connection)))
    connection.exec_driver_sql("CREATE VIEW awfe_step_state AS SELECT name AS workflow FROM awfe_workflow")
    connection.execute(schema.meta.update().values(version=0))


async def test_the_scripts_make_what_a_fresh_database_has(database: Database) -> None:
    async with Engine(database.url, **QUICK):
        pass
    fresh = await described(database)
    assert len(fresh) > 80
    await drop_all(database)
    assert await described(database) == []
    await changed(database, from_nothing)
    assert await described(database) == fresh
    assert ScriptDirectory(migrations.SCRIPTS).get_current_head() == f"{schema.VERSION:04}"


@pytest.mark.usefixtures("older_scripts")
async def test_older_tables_are_refused_then_migrated(database: Database, world: World) -> None:
    world.failing["two"] = ValueError("no")
    async with Engine(database.url, **QUICK) as engine:
        for name in ("done", "failed"):
            await engine.create_workflow(name, {"a": 1}, [Note("one", {"b": 2})] + [Note("two")] * (name == "failed"))
        await engine.run("done")
        with pytest.raises(StepError):
            await engine.run("failed")
        await engine.update_context("failed", {"c": "ü"}, actor="ada", reason="because")
        before = [await engine.get(name) for name in ("done", "failed")]
        history = await engine.history("failed")
    fresh = await described(database)
    await changed(database, make_older)
    assert await described(database) != fresh

    with pytest.raises(SchemaOutdated, match="of schema 0, this awfe needs 1: run 'awfe db upgrade'"):
        await Engine(database.url, **QUICK).open()
    assert await awfe.migrate(database.url, connect_retry_for=10) == 0
    assert await described(database) == fresh
    assert await database.execute("SELECT * FROM awfe_migration") == [("0001",)]
    assert await awfe.migrate(database.url, connect_retry_for=10) == 1
    assert await database.sessions(settle=5) == []

    world.failing.clear()
    async with Engine(database.url, **QUICK) as engine:
        assert [await engine.get(name) for name in ("done", "failed")] == before
        assert await engine.history("failed") == history
        assert (await engine.restart("failed")).context == {"a": 1, "b": 2, "c": "ü"}
        await engine.delete("done")
    assert await database.execute("SELECT DISTINCT state FROM awfe_step_state") == [("completed",)]
    assert await violations(database.url) == []


@pytest.mark.usefixtures("older_scripts")
async def test_what_was_cut_off_is_done_again(database: Database) -> None:
    """Before each statement that changes something: MySQL has kept those before it, the others none."""
    assert await awfe.migrate(database.url, connect_retry_for=10) is None
    fresh = await described(database)
    cuts, is_cut = 0, True
    while is_cut:
        await changed(database, make_older)
        with cutting(cuts + 1) as statements, suppress(ZeroDivisionError):
            await awfe.migrate(database.url, connect_retry_for=10)
        is_cut = len(statements) > cuts
        cuts += is_cut
        assert await database.execute("SELECT version FROM awfe_meta") == [(0 if is_cut else 1,)]
        assert await awfe.migrate(database.url, connect_retry_for=10) == (0 if is_cut else 1)
        assert await described(database) == fresh
    assert cuts > 10


@contextmanager
def cutting(number: int) -> Iterator[list[str]]:
    """Raise before the given statement that changes something, on whatever connection."""
    seen: list[str] = []

    def cut(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.split(maxsplit=1)[0] in ("ALTER", "CREATE", "DROP", "INSERT", "UPDATE", "DELETE"):
            seen.append(statement)
            if len(seen) == number:
                raise ZeroDivisionError

    event.listen(SyncEngine, "before_cursor_execute", cut)
    try:
        yield seen
    finally:
        event.remove(SyncEngine, "before_cursor_execute", cut)


@pytest.mark.usefixtures("older_scripts")
async def test_many_migrate_at_once(database: Database) -> None:
    created = await asyncio.gather(*(awfe.migrate(database.url, connect_retry_for=10) for _ in range(4)))
    assert None in created
    fresh = await described(database)
    await changed(database, make_older)
    migrated = await asyncio.gather(*(awfe.migrate(database.url, connect_retry_for=10) for _ in range(4)))
    assert sorted(migrated, key=str) == [0, 1, 1, 1]
    assert await described(database) == fresh


@pytest.mark.usefixtures("older_scripts")
async def test_it_is_a_command(database: Database, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["--db", database.url, "db", "upgrade"]
    for done in ("created schema 1", "nothing to do, schema 1 is what this awfe needs", "upgraded schema 0 to 1"):
        if done.startswith("upgraded"):
            await changed(database, make_older)
        assert await asyncio.to_thread(run, command) == 0
        assert capfd.readouterr().out.endswith(f": {done}\n")


async def test_what_cannot_be_migrated(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await awfe.migrate(database.url, connect_retry_for=10)
    fresh = await described(database)
    await database.execute("UPDATE awfe_meta SET version = 99")
    with pytest.raises(SchemaOutdated, match="of schema 99, this awfe knows 1: upgrade awfe"):
        await awfe.migrate(database.url, connect_retry_for=10)
    await database.execute("UPDATE awfe_meta SET version = 0")
    with pytest.raises(SchemaOutdated, match="of schema 0, from which no script of this awfe leads to 1"):
        await awfe.migrate(database.url, connect_retry_for=10)
    monkeypatch.delitem(sys.modules, "awfe.persistence.migrations")
    monkeypatch.setitem(sys.modules, "alembic.migration", None)
    with pytest.raises(ConfigError, match=r"from schema 0 needs alembic.*: pip install 'awfe\[migrate\]'"):
        await awfe.migrate(database.url, connect_retry_for=10)
    assert await described(database) == fresh
    assert await database.sessions(settle=5) == []


@pytest.mark.databases("mysql", "postgresql")
async def test_a_url_that_the_driver_refuses_is_a_config_error(database: Database) -> None:
    url = f"{database.url}?nonsense=1"
    refused = r"has an argument that the driver does not take: .*nonsense"
    for ask in (awfe.migrate(url), health.tables(url, Settings())):
        with pytest.raises(ConfigError, match=refused):
            await ask
    (finding,) = await health.examine(url, Settings())
    assert re.search(refused, finding.found)
    assert finding.advice == "take that argument out of the URL"
