"""The how-to page about backups: databases are dumped while workflows run, restored elsewhere, and gone on with."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sqlalchemy import URL, make_url

from awfe import BaseStep, Context, Engine, LockLost, WaitFor, WorkflowStopped
from awfe.testing import violations
from tests.databases import Database, ServerDatabase
from tests.docs.server_pages import ServerPage, execute

QUICK: dict[str, Any] = {"takeover_delay": 0.05, "shutdown_grace": 0.2, "stop_grace": 0.2}


@dataclass
class Send(BaseStep, name="backup.Send"):
    """Does something in an outer system, with its key."""

    what: str
    keys: ClassVar[dict[str, list[str]]]

    async def work(self, ctx: Context) -> None:
        """Note the key."""
        self.keys.setdefault(self.what, []).append(ctx.step.key)


class Held(BaseStep, name="backup.Held"):
    """Goes on when the test says so."""

    begun: ClassVar[dict[str, int]]
    go_on: ClassVar[asyncio.Event]

    async def work(self, ctx: Context) -> None:
        """Wait."""
        self.begun[ctx.workflow] = self.begun.get(ctx.workflow, 0) + 1
        await self.go_on.wait()


class HeldRerun(Held, name="backup.HeldRerun"):
    """The same, and may be repeated."""

    on_interrupt = "rerun"


class Wait(BaseStep, name="backup.Wait"):
    """Waits for a signal."""

    async def work(self, ctx: Context) -> WaitFor:  # noqa: ARG002 - the signature is awfe's
        """Wait."""
        return WaitFor("go")


class Backup:
    """What the page does with a database of the test."""

    def __init__(self, database: Database, directory: Path) -> None:
        """Have the commands find the test's server."""
        name = database.name if isinstance(database, ServerDatabase) else "workflows"
        self.page = ServerPage("backup.md", name)
        self.dialect = database.dialect
        self._directory = directory
        self._url = make_url(database.url)
        self._environment = dict(os.environ)
        given = {
            "host": self._url.host,
            "port": self._url.port,
            "user": self._url.username,
            "password": self._url.password,
        }
        known = {name: str(value) for name, value in given.items() if value is not None}
        if self.dialect == "postgresql":
            self._environment |= {f"PG{name.upper()}": value for name, value in known.items()}
        else:
            lines = "".join(f"{name}={value}\n" for name, value in known.items())
            (directory / ".my.cnf").write_text(f"[client]\n{lines}")
            self._environment["HOME"] = str(directory)

    @property
    def restored(self) -> URL:
        """The restored database."""
        if self.dialect == "sqlite":
            return self._url.set(database=str(self._directory / "workflows_restored.db"))
        return self._url.set(database=self.page.name("workflows_restored"))

    def back_up(self) -> None:
        """Do what the page does to back up; a file of SQLite is restored by that."""
        if self.dialect == "sqlite":
            with closing(sqlite3.connect(str(self._url.database))) as source:
                into = self.page.block("sqlite").replace("workflows_restored.db", str(self.restored.database))
                source.execute(into)
        else:
            self._shell(self._lines()[0])

    def restore(self) -> None:
        """Do the rest of it."""
        if self.dialect != "sqlite":
            for line in self._lines()[1:]:
                self._shell(line)

    def restore_in_place(self) -> None:
        """Restore into the database from which the backup was taken."""
        clean = self._lines()[-1].replace("pg_restore", "pg_restore --clean")
        self._shell(clean.replace(self.page.name("workflows_restored"), self.page.name("workflows")))

    async def begin_numbers_above(self) -> None:
        """Do the statement of the page for this kind of database."""
        statements = dict(zip(("mysql", "postgresql", "sqlite"), self.page.statements("numbers"), strict=True))
        await execute(self.restored, statements[self.dialect])

    async def end(self) -> None:
        """Leave nothing behind."""
        if self.dialect != "sqlite":
            await execute(self._url, f"DROP DATABASE IF EXISTS {self.restored.database}")

    def _lines(self) -> list[str]:
        lines = self.page.block(self.dialect).splitlines()
        return (
            lines
            if shutil.which("mariadb")
            else [line.replace("mariadb-dump", "mysqldump").replace("mariadb", "mysql") for line in lines]
        )

    def _shell(self, line: str) -> None:
        done = subprocess.run(  # noqa: S602 - our own page
            line,
            shell=True,
            cwd=self._directory,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, f"$ {line}\n{done.stderr}"


@pytest.fixture
async def backup(database: Database, tmp_path: Path) -> AsyncIterator[Backup]:
    """Yield what the page does."""
    Send.keys, Held.begun, Held.go_on = {}, {}, asyncio.Event()
    backup = Backup(database, tmp_path)
    yield backup
    await backup.end()


async def begun(name: str, times: int) -> None:
    """Return when a step that is held has begun so often."""
    async with asyncio.timeout(30):
        while Held.begun.get(name, 0) < times:
            await asyncio.sleep(0.01)


async def states(engine: Engine) -> dict[str, str]:
    """Return the state of each workflow."""
    return {each.name: str(each.state) for each in await engine.list()}


async def test_backup(database: Database, backup: Backup) -> None:
    """Each state after the restore is as the page says; what ran after the backup runs again, with the same key."""
    original = Engine(database.url, **QUICK)
    async with original:
        steps: dict[str, Any] = {"running": Held, "rerun": HeldRerun, "waiting": Wait, "pending": Send("pending")}
        for name, step in steps.items():
            await original.create_workflow(name, {}, [step, Send(f"after {name}")])
        await original.create_workflow("done", {}, [Send("done")])
        await original.run("done")
        for name in ("running", "rerun", "waiting"):
            await original.start(name)
        await asyncio.gather(begun("running", 1), begun("rerun", 1), _until(original, "waiting"))

        await asyncio.to_thread(backup.back_up)
        await original.run("pending")
        await original.create_workflow("late", {}, [Send("late")])
        await original.run("late")
        await original.signal("waiting", "go")
        await original.wait("waiting")
    await asyncio.to_thread(backup.restore)

    copy = Engine(backup.restored, **QUICK)
    async with copy:
        before = {
            "done": "completed",
            "pending": "pending",
            "rerun": "running",
            "running": "running",
            "waiting": "waiting",
        }
        assert await states(copy) == before
        recovered = await copy.recover()
        assert (set(recovered.started), recovered.refused) == ({"rerun"}, ("running",))
        await begun("rerun", 2)
        assert await states(copy) == before | {"running": "error"}
        assert (await copy.get("running")).steps[0].state == "interrupted"
        Held.go_on.set()
        assert (await copy.wait("rerun")).state == "completed"
        await copy.run("pending")
        handle = await copy.start("waiting")
        await copy.signal("waiting", "go")
        await handle
        assert len(Send.keys["done"]) == 1
        for repeated in ("pending", "after pending", "after waiting"):
            first, second = Send.keys[repeated]
            assert first == second, repeated
        await copy.create_workflow("another", {}, [Send("another")])
        await copy.run("another")
        assert Send.keys["another"] == Send.keys["late"], "which is why numbers have to go on above"
        await backup.begin_numbers_above()
        await copy.create_workflow("a third", {}, [Send("a third")])
        await copy.run("a third")
        (key,) = Send.keys.pop("a third")
        assert not any(key in keys for keys in Send.keys.values())
    assert await violations(backup.restored) == []


async def _until(engine: Engine, state: str) -> None:
    async with asyncio.timeout(30):
        while (await engine.get(state)).state != state:
            await asyncio.sleep(0.01)


async def test_backup_as_a_copy(database: Database, backup: Backup) -> None:
    """A copy runs what the original runs; on one server of MySQL not before it has a new identity."""
    async with Engine(database.url, **QUICK) as original:
        await original.create_workflow("w", {}, [HeldRerun])
        handle = await original.start("w")
        await begun("w", 1)
        await asyncio.to_thread(backup.back_up)
        await asyncio.to_thread(backup.restore)
        if backup.dialect == "mysql":
            async with Engine(backup.restored, **QUICK) as copy:
                assert (await copy.recover()).started == ()
            await execute(backup.restored, *backup.page.statements("identity"))
        async with Engine(backup.restored, **QUICK) as copy:
            assert (await copy.recover()).started == ("w",)
            await begun("w", 2)
            await copy.stop("w")
        assert not handle.done()
        await original.stop("w")
        with pytest.raises(WorkflowStopped):
            await handle


@pytest.mark.databases("mysql", "postgresql")
async def test_backup_that_is_restored_under_an_engine(database: Database, backup: Backup) -> None:
    """What it runs is fenced at its next move, and nothing of it is saved."""
    async with Engine(database.url, **QUICK) as engine:
        await engine.create_workflow("w", {}, [Held, HeldRerun, Send("end")])
        handle = await engine.start("w")
        await begun("w", 1)
        await asyncio.to_thread(backup.back_up)
        Held.go_on.set()
        Held.go_on = asyncio.Event()
        await begun("w", 2)
        await asyncio.to_thread(backup.restore_in_place)
        Held.go_on.set()
        with pytest.raises(LockLost):
            await handle
        assert Send.keys == {}
        assert (await engine.get("w")).position == 1
    assert await violations(database.url) == []
