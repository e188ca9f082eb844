"""The how-to page about PostgreSQL: its roles, its TLS, its pooler and its figures, on real servers."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import make_url

from awfe import ConfigError, Engine, Settings, StoreUnavailable, WorkflowStopped, migrate
from awfe.persistence import health
from awfe.testing import violations
from tests.databases import Database, PostgreSQLDatabase
from tests.docs.server_pages import (
    NEVER,
    EncryptedPostgreSQL,
    Quick,
    ServerPage,
    encrypted,
    execute,
    hold,
    sessions_are_as_many_as_the_page_says,
)
from tests.programs import dying_with_parent, find_program
from tests.servers import PostgreSQL, Server

pytestmark = pytest.mark.databases("postgresql")


@pytest.fixture
def page(database: Database) -> ServerPage:
    """Return the page with a database of the test's own."""
    assert isinstance(database, PostgreSQLDatabase)
    return ServerPage("postgresql.md", database.name)


async def roles(page: ServerPage, server: str) -> None:
    """Make the roles of the page, and their database."""
    name = page.name("workflows")
    await execute(server, f"DROP DATABASE IF EXISTS {name}", *page.statements("roles.sql"))
    await execute(make_url(server).set(database=name), *page.statements("rights.sql"))


async def no_roles(page: ServerPage, server: str) -> None:
    """Leave none of them behind, nor what they own."""
    await execute(server, f"DROP DATABASE IF EXISTS {page.name('workflows')} WITH (FORCE)")
    await execute(
        server, *(f"DROP ROLE IF EXISTS {page.name(each)}" for each in ("awfe_ops", "awfe_app", "awfe_deploy"))
    )


async def works(engine: Engine, other: Engine, name: str) -> None:
    """Run a workflow to its end, and stop one from another engine."""
    await engine.create_workflow(name, {}, [Quick])
    assert (await engine.run(name)).state == "completed"
    handle = await hold(engine, f"held {name}")
    await other.stop(f"held {name}")
    async with asyncio.timeout(30):
        with pytest.raises(WorkflowStopped):
            await handle


async def test_postgresql(page: ServerPage, database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """The role of the engines may do what engines do, and can't make tables; operators are heard at once."""
    server = str(make_url(database.url).set(database="postgres"))
    url, deploy = (page.url(database.url, f"awfe_{each}", f"{each}-secret") for each in ("app", "deploy"))
    try:
        await roles(page, server)
        with pytest.raises(StoreUnavailable, match="permission denied for schema public"):
            await Engine(url).open()
        await migrate(deploy)
        await execute(server, *page.statements("operators.sql"))
        for locks in ("dedicated", "shared", "lease"):
            engine = Engine(url, locks=locks, poll_interval=NEVER)
            async with engine, Engine(page.url(url, "awfe_ops", "ops-secret"), locks=locks) as operator:
                await works(engine, operator, locks)
        assert await violations(database.url) == []
        await execute(deploy, "CREATE SCHEMA mine", f"GRANT USAGE ON SCHEMA mine TO {page.name('awfe_app')}")
        await execute(
            server, *(f"ALTER ROLE {page.name(each)} SET search_path = mine" for each in ("awfe_app", "awfe_deploy"))
        )
        assert await migrate(deploy) is None
        assert "can't be rung" not in caplog.text
    finally:
        await no_roles(page, server)


async def test_postgresql_connections(database: Database) -> None:
    await sessions_are_as_many_as_the_page_says("postgresql.md", database)


async def test_postgresql_encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ServerPage("postgresql.md", "workflows")
    monkeypatch.setenv("HOME", str(tmp_path))
    with encrypted(EncryptedPostgreSQL, tmp_path) as server:
        await roles(page, server.url)
        await migrate(page.url(server.url, "awfe_deploy", "deploy-secret"))
        url = page.block("url").replace("db.example", f"127.0.0.1:{server.port}").strip()
        with pytest.raises(ConfigError, match="no encryption"):
            await Engine(url.replace("verify-full", "disable")).open()
        with pytest.raises(StoreUnavailable, match="root certificate file"):
            await Engine(url, connect_retry_for=0).open()
        with pytest.raises(ConfigError, match="sslrootcert"):
            await Engine(f"{url}&sslrootcert=ca.pem").open()
        async with Engine(url.partition("?")[0]) as engine:
            assert await engine.list() == []
        monkeypatch.setenv("PGSSLROOTCERT", str(tmp_path / "ca.pem"))
        await _outlives_its_connections(server, url)
        assert await _complaints(url) == []
        await execute(server.url, f"ALTER ROLE {page.name('awfe_app')} SET synchronous_commit = off")
        assert await _complaints(url) == ["synchronous_commit"]


async def _outlives_its_connections(server: Server, url: str) -> None:
    """The server closes what is idle for a second: nobody notices, and the lock stays."""
    if int((await execute(server.url, "SHOW server_version_num"))[0][0]) < 140_000:  # type: ignore[call-overload]
        return
    await execute(server.url, "ALTER SYSTEM SET idle_session_timeout = '1s'", "SELECT pg_reload_conf()")
    async with Engine(url, lock_url=url, db_retry_for=0) as engine:
        handle = await hold(engine, "held")
        await asyncio.sleep(2.5)
        await engine.create_workflow("quick", {}, [Quick])
        assert (await engine.run("quick")).state == "completed"
        assert not handle.done()
        await handle.stop()
    await execute(server.url, "ALTER SYSTEM RESET idle_session_timeout", "SELECT pg_reload_conf()")


async def _complaints(url: str) -> list[str]:
    return [each.what for each in await health.examine(url, Settings()) if each.advice]


@pytest.mark.parametrize("how", ["past it", "leases", "session"])
async def test_postgresql_pooled(page: ServerPage, database: Database, how: str) -> None:
    """Behind a pgbouncer the program of the page works, beside an engine that goes past it."""
    server = str(make_url(database.url).set(database="postgres"))
    try:
        await roles(page, server)
        await execute(server, *page.statements("pooler.sql"))
        await migrate(page.url(server, "awfe_deploy", "deploy-secret"))
        with pgbouncer(page, server, "session" if how == "session" else "transaction") as port:
            there = make_url(server)
            code = page.block("pooled.py").replace("pooler.example", f"127.0.0.1:{port}")
            program: dict[str, Any] = {}
            exec(code.replace("db.example", f"{there.host}:{there.port}"), program)  # noqa: S102 - our own page
            if how == "leases":
                program["engine"] = Engine(program["pooled"], locks="lease")
            elif how == "session":
                program["engine"] = Engine(program["POOLER"].partition("?")[0], max_running=5)
            engine: Engine = program["engine"]
            async with engine, Engine(program["SERVER"], locks=engine.settings.locks) as other:
                await works(engine, other, "one")
                names = [f"{number}" for number in range(30)]
                await asyncio.gather(*(engine.create_workflow(name, {}, [Quick] * 5) for name in names))
                await asyncio.gather(*(engine.run(name) for name in names))
        assert await violations(page.url(server, "awfe_app", "app-secret")) == []
    finally:
        await no_roles(page, server)


@contextmanager
def pgbouncer(page: ServerPage, server: str, mode: str) -> Iterator[int]:
    """Have a pgbouncer before a server for as long as this lasts; yields its port."""
    if (program := find_program("pgbouncer")) is None:
        pytest.skip("no pgbouncer here")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    there = make_url(server)
    settings = (
        f"auth_type = trust\nauth_file = users\npool_mode = {mode}\nlisten_addr = 127.0.0.1\nlisten_port = {port}"
    )
    with TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "users").write_text(f'"{page.name("awfe_app")}" "app-secret"\n')
        databases = f"[databases]\n* = host={there.host} port={there.port}\n"
        (directory / "ini").write_text(f"{databases}[pgbouncer]\nunix_socket_dir =\n{settings}\n")
        account = PostgreSQL.account if os.geteuid() == 0 else None  # it does not run as root
        if account:
            for each in (directory, *directory.iterdir()):
                shutil.chown(each, account)
        process = subprocess.Popen(  # noqa: S603 - our own program
            [program, "-q", "ini"],
            cwd=directory,
            user=account,
            preexec_fn=dying_with_parent(signal.SIGTERM),  # noqa: PLW1509 - it needs no lock of another thread
        )
        try:
            _listens(port)
            yield port
        finally:
            process.kill()
            process.wait()


def _listens(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    pytest.fail("pgbouncer does not listen")
