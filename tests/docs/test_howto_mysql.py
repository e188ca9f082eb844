"""The how-to page about MySQL and MariaDB: its accounts, its TLS and its figures, on real servers."""

import asyncio
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import URL

from awfe import ConfigError, Engine, Settings, StoreUnavailable, WorkflowStopped, migrate
from awfe.persistence import health
from awfe.testing import violations
from tests.databases import Database, MySQLDatabase
from tests.docs.server_pages import (
    NEVER,
    EncryptedMySQL,
    Quick,
    ServerPage,
    encrypted,
    execute,
    hold,
    sessions_are_as_many_as_the_page_says,
)
from tests.programs import find_program
from tests.servers import Server

pytestmark = pytest.mark.databases("mysql")


@pytest.fixture
def page(database: Database) -> ServerPage:
    """Return the page with a database of the test's own."""
    assert isinstance(database, MySQLDatabase)
    return ServerPage("mysql.md", database.name)


async def accounts(page: ServerPage, url: str) -> None:
    """Make the accounts of the page, and the tables by the one that may."""
    await execute(url, f"DROP DATABASE IF EXISTS {page.name('workflows')}", *page.statements("accounts.sql"))
    await migrate(page.url(url, "awfe_deploy", "deploy-secret"))


async def no_accounts(page: ServerPage, url: str) -> None:
    """Leave none of them behind."""
    await execute(url, *(f"DROP USER IF EXISTS {page.name(each)}" for each in ("awfe_app", "awfe_deploy", "awfe_ops")))


def dump_and_restore(url: URL) -> None:
    """Dump a database and restore it in place."""
    found = [find_program(*names) for names in (("mariadb-dump", "mysqldump"), ("mariadb", "mysql"))]
    dump, client = (each or pytest.skip("no client here") for each in found)
    at = [f"--host={url.host}", f"--port={url.port}", f"--user={url.username}", f"--password={url.password}"]
    dumped = subprocess.run([dump, *at, "--single-transaction", str(url.database)], capture_output=True, check=True)  # noqa: S603 - the server's own program
    subprocess.run([client, *at, str(url.database)], input=dumped.stdout, check=True)  # noqa: S603 - the same


async def test_mysql(page: ServerPage, database: Database) -> None:
    """The account of the engines may do what engines do, with each kind of locks, and can't make tables."""
    url = page.url(database.url, "awfe_app", "app-secret")
    try:
        await execute(database.url, f"DROP DATABASE {page.name('workflows')}", *page.statements("accounts.sql"))
        with pytest.raises(StoreUnavailable, match="CREATE command denied"):
            await Engine(url).open()
        await migrate(page.url(database.url, "awfe_deploy", "deploy-secret"))
        for locks in ("dedicated", "shared", "lease"):
            async with Engine(url, locks=locks) as engine, Engine(url, locks=locks) as other:
                await engine.create_workflow(locks, {}, [Quick])
                assert (await engine.run(locks)).state == "completed"
                handle = await hold(engine, "held")
                await other.stop("held")
                with pytest.raises(WorkflowStopped):
                    await handle
                await engine.delete("held")
        await asyncio.to_thread(dump_and_restore, page.url(database.url, "awfe_deploy", "deploy-secret"))
        assert await violations(database.url) == []
    finally:
        await no_accounts(page, database.url)


async def test_mysql_operators(page: ServerPage, database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """An account of the operators' own is heard at the next poll; with the right to kill at once."""
    line = "other engines can't be rung, they look every poll_interval: ", "(1095, 'You are not owner of thread "
    assert page.says("… ".join(line))
    try:
        await accounts(page, database.url)
        await execute(database.url, *page.statements("operators.sql"))
        for may_ring in (False, True):
            caplog.clear()
            if may_ring:
                await execute(database.url, *page.statements("bell.sql"))
            app = Engine(page.url(database.url, "awfe_app", "app-secret"), poll_interval=NEVER if may_ring else 0.1)
            ops = Engine(page.url(database.url, "awfe_ops", "ops-secret"), poll_interval=NEVER)
            async with app, ops:
                handle = await hold(app, f"w{may_ring}")
                await ops.stop(f"w{may_ring}")
                async with asyncio.timeout(30):
                    with pytest.raises(WorkflowStopped):
                        await handle
            assert [caplog.text.count(part) for part in line] == [not may_ring] * 2
    finally:
        await no_accounts(page, database.url)


async def test_mysql_connections(database: Database) -> None:
    await sessions_are_as_many_as_the_page_says("mysql.md", database)


async def test_mysql_in_plain_text(database: Database) -> None:
    """The driver does not insist on what it is asked for: a server without TLS is taken all the same."""
    if ("have_ssl", "DISABLED") not in await database.execute("SHOW VARIABLES LIKE 'have_ssl'"):
        pytest.skip("this server has TLS")
    async with Engine(f"{database.url}?ssl_check_hostname=true") as engine:
        assert await engine.list() == []


async def test_mysql_encrypted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = ServerPage("mysql.md", "workflows")
    with encrypted(EncryptedMySQL, tmp_path) as server:
        await accounts(page, server.url)
        await execute(server.url, *page.statements("tls.sql"))
        url = page.block("url").replace("db.example", f"127.0.0.1:{server.port}").strip()
        with pytest.raises(ConfigError, match="Access denied"):
            await Engine(url.partition("?")[0]).open()
        with pytest.raises(StoreUnavailable, match="Can't connect to MySQL server"):
            await Engine(url.partition("=")[0].replace("ssl_ca", "ssl_check_hostname=true"), connect_retry_for=0).open()
        await _outlives_its_connections(server, url)
        await _is_examined(server, url)
        await _refuses_statements_of_the_log(server, url)
    assert "Traceback" not in caplog.text


async def _outlives_its_connections(server: Server, url: str) -> None:
    """The server closes what is idle for a second: nobody notices, and the lock stays."""
    await execute(server.url, "SET GLOBAL wait_timeout = 1")
    async with Engine(url, lock_url=url, db_retry_for=0) as engine:
        handle = await hold(engine, "held")
        await asyncio.sleep(2.5)
        await engine.create_workflow("quick", {}, [Quick])
        assert (await engine.run("quick")).state == "completed"
        assert not handle.done()
        await handle.stop()
    await execute(server.url, "SET GLOBAL wait_timeout = 28800")


async def _is_examined(server: Server, url: str) -> None:
    for sql, wrong in (("", []), ("SET GLOBAL innodb_flush_log_at_trx_commit = 2", ["innodb_flush_log_at_trx_commit"])):
        await execute(server.url, *filter(None, ["SET GLOBAL sync_binlog = 1", sql]))
        assert [each.what for each in await health.examine(url, Settings()) if each.advice] == wrong


async def _refuses_statements_of_the_log(server: Server, url: str) -> None:
    await execute(server.url, "SET GLOBAL binlog_format = 'STATEMENT'")
    async with Engine(url) as engine:
        with pytest.raises(StoreUnavailable, match="1665"):
            await engine.create_workflow("refused", {}, [Quick])
