"""What the doctor finds on each database, and that looking changes nothing."""

from pathlib import Path

import pytest
from sqlalchemy import make_url

from awfe import ConfigError, Engine, SchemaOutdated, Settings
from awfe.persistence import health, schema
from tests.databases import Database

QUICK = Settings(connect_retry_for=5)
# The servers of the tests may be told to be quick rather than safe.
DURABILITY = {"innodb_flush_log_at_trx_commit", "sync_binlog", "fsync", "synchronous_commit", "full_page_writes"}


async def test_looks_without_changing_anything(database: Database) -> None:
    tables = await health.tables(database.url, QUICK)
    assert tables.schema is None
    with pytest.raises(SchemaOutdated, match="has no tables of awfe: run 'awfe db upgrade'"):
        tables.check()
    advice = [str(each.advice) for each in await health.examine(database.url, QUICK) if each.what not in DURABILITY]
    assert [each for each in advice if "awfe db upgrade" in each] == [each for each in advice if each != "None"]
    if database.dialect == "sqlite":
        assert not Path(database.url.removeprefix("sqlite+aiosqlite:///")).exists()


async def test_what_is_well_and_what_is_not(database: Database) -> None:
    async with Engine(database.url, connect_retry_for=5):
        pass
    found = {each.what: each for each in await health.examine(database.url, QUICK)}
    assert {what for what, finding in found.items() if finding.advice} <= DURABILITY
    assert found["schema"].found == str(schema.VERSION)
    if database.dialect != "sqlite":
        small = Settings(max_running=100_000)
        wanted = {each.what for each in await health.examine(database.url, small) if each.advice} - DURABILITY
        assert wanted == {"max_connections"}
    await database.execute("UPDATE awfe_meta SET version = 99")
    (finding,) = [each for each in await health.examine(database.url, QUICK) if each.what == "schema"]
    assert finding.advice == f"this awfe needs schema {schema.VERSION}: upgrade awfe"
    await database.execute("UPDATE awfe_meta SET version = 0")
    tables = await health.tables(database.url, QUICK)
    with pytest.raises(SchemaOutdated, match="run 'awfe db upgrade'"):
        tables.check()


async def test_a_database_that_can_not_be_reached_is_what_is_wrong(database: Database, tmp_path: Path) -> None:
    soon = Settings(connect_retry_for=0)
    url = make_url(database.url)
    if database.dialect == "sqlite":
        Path(tmp_path / "text.db").write_text("no database " * 50)
        urls = {url.set(database=f"{tmp_path}/text.db"): "name another file"}
    else:
        # Nobody listens at port 1.
        urls = {url.set(host="127.0.0.1", port=1, query={}): "start the server"}
        urls[url.set(database="no_such_database")] = "the server knows"
    for each, advice in urls.items():
        (finding,) = await health.examine(each.render_as_string(hide_password=False), soon)
        assert finding.what == "database"
        assert advice in str(finding.advice)
    with pytest.raises(ConfigError):
        await health.examine("nonsense", soon)
