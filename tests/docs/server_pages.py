"""The how-to pages about servers: what they show is done on the tests' own servers, under names of the test's own."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL, NullPool, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from awfe import BaseStep, Context, Engine, Handle, Settings
from tests.databases import Database
from tests.docs.pages import DOCS, blocks
from tests.servers import MySQL, PostgreSQL, Server

_NAMES = re.compile(r"\b(?:workflows(?:_restored)?(?!\.(?:sql|dump|db))|awfe_(?:app|deploy|ops))\b")
_CERTIFY = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    " -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out ca.pem 2>/dev/null"
)
NEVER = 3_600.0


class Held(BaseStep, name="howto.Held"):
    """Runs until it is stopped."""

    async def work(self, ctx: Context) -> None:
        """Save that it has begun, and wait."""
        ctx["begun"] = True
        await ctx.checkpoint()
        await asyncio.Event().wait()


class Quick(BaseStep, name="howto.Quick"):
    """Is done at once."""

    async def work(self, ctx: Context) -> None:
        """Do it."""
        ctx["done"] = True


async def hold(engine: Engine, name: str) -> Handle:
    """Run a workflow, and return when its step has begun."""
    await engine.create_workflow(name, {}, [Held])
    handle = await engine.start(name)
    async with asyncio.timeout(30):
        while "begun" not in (await engine.get(name)).context:
            await asyncio.sleep(0.01)
    return handle


class ServerPage:
    """A page whose blocks have titles; the database `workflows` and the accounts `awfe_…` of it become the test's."""

    def __init__(self, page: str, database: str) -> None:
        """Read it."""
        self._page = DOCS / "howto" / page
        self._database = database

    def name(self, shown: str) -> str:
        """Return what the test has for a name on the page."""
        return f"{self._database}{shown.removeprefix('workflows').removeprefix('awfe')}"

    def block(self, title: str) -> str:
        """Return a block with the names of the test."""
        (found,) = (each.text for each in blocks(self._page) if each.title == title)
        return _NAMES.sub(lambda shown: self.name(shown[0]), found)

    def statements(self, title: str) -> Iterator[str]:
        """Yield the statements of a block of SQL."""
        code = re.sub(r"^--.*$", "", self.block(title), flags=re.MULTILINE)
        yield from (each.strip() for each in code.split(";") if each.strip())

    def url(self, server: str | URL, account: str, password: str) -> URL:
        """Return the URL by which an account of the page comes to the database."""
        return make_url(server).set(username=self.name(account), password=password, database=self._database)

    def says(self, text: str) -> bool:
        """Tell whether the page says something, wherever its lines are broken."""
        return text in " ".join(self._page.read_text().split())


async def execute(url: str | URL, *statements: str) -> list[tuple[object, ...]]:
    """Do statements, each by itself; returns the rows of the last."""
    engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    rows: list[tuple[object, ...]] = []
    async with engine.connect() as connection:
        for each in statements:
            result = await connection.execute(text(each))
            rows = [tuple(row) for row in result] if result.returns_rows else []
    return rows


async def sessions_are_as_many_as_the_page_says(page: str, database: Database) -> None:
    """Run four workflows with each kind of locks: as many connections as the page's table says at most."""
    rows = re.findall(r"^\| `\"(\w+)\"` \| (.+?) \| (\d+) \|", (DOCS / "howto" / page).read_text(), re.MULTILINE)
    assert [kind for kind, _, _ in rows] == ["dedicated", "shared", "lease"]
    for kind, formula, by_default in rows:
        usual = Settings(locks=kind)
        assert usual.lock_connections + usual.pool_size + 1 == int(by_default)
        async with Engine(database.url, locks=kind, max_running=4, pool_size=2) as engine:
            handles = [await hold(engine, f"{kind} {number}") for number in range(4)]
            there = len(await database.sessions())
            for handle in handles:
                await handle.stop()
            at_most = eval(formula.strip("`"), {"max_running": 4, "pool_size": 2})  # noqa: S307 - our own page
            # All but one lock connection: the shared ones are two only while one is being replaced.
            assert at_most - 2 <= there <= at_most, (kind, there)
        assert await database.sessions(settle=5) == []


class EncryptedMySQL(MySQL):
    """A server with TLS and a binary log, whose own certificate is the authority."""

    def installation(self) -> str:
        """Make the certificate too."""
        return f"{super().installation()}\n{_CERTIFY}"

    def command(self) -> str:
        """Name the certificate."""
        return f'{super().command()} --ssl-cert="$PWD/ca.pem" --ssl-key="$PWD/key.pem" --log-bin=log-bin'


class EncryptedPostgreSQL(PostgreSQL):
    """A server with TLS, whose own certificate is the authority; passwords are asked for."""

    def installation(self) -> str:
        """Make the certificate too; who is not the administrator has to encrypt and to give a password."""
        rules = "hostssl all all 127.0.0.1/32 scram-sha-256"
        hba = f"printf 'host all postgres 127.0.0.1/32 trust\\n{rules}\\n' > data/pg_hba.conf"
        return f"{super().installation()}\n{_CERTIFY}\n{hba}"

    def command(self) -> str:
        """Name the certificate."""
        return f'{super().command()} -c ssl=on -c ssl_cert_file="$PWD/ca.pem" -c ssl_key_file="$PWD/key.pem"'


@contextmanager
def encrypted(kind: type[Server], directory: Path) -> Iterator[Server]:
    """Have a server of its own for as long as this lasts; its authority is `ca.pem` in the directory."""
    if (program := kind.find()) is None:
        pytest.skip(f"no {kind.package} here")
    server = kind(program, fast=False)
    try:
        server.start()
        server.wait()
        assert server._directory is not None
        (directory / "ca.pem").write_text((server._directory / "ca.pem").read_text())
        yield server
    finally:
        server.stop()
