"""The how-to page about SQLite: its files, their users and its one writer."""

import asyncio
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from awfe import Engine, Settings, WorkflowStopped, migrate
from awfe.persistence import health
from tests.docs.pages import ROOT
from tests.docs.server_pages import Quick, ServerPage, hold

PAGE = ServerPage("sqlite.md", "workflows")
GROUP, SERVICE, OPERATOR = 64_001, 64_002, 64_003  # of nobody


async def test_sqlite(tmp_path: Path) -> None:
    """What awfe sets, and which files there are while an engine is open."""
    program: dict[str, Any] = {}
    exec(PAGE.block("service.py").replace("/srv/workflows", str(tmp_path)), program)  # noqa: S102 - our own page
    engine: Engine = program["engine"]
    async with engine, Engine(f"sqlite:///{tmp_path}/workflows.db") as other:

        async def pragma(connection: AsyncConnection) -> list[Any]:
            names = ("journal_mode", "synchronous", "busy_timeout")
            return [(await connection.execute(text(f"PRAGMA {name}"))).scalar() for name in names]

        full = 2
        assert await engine._database.read(pragma) == ["wal", full, 10_000]
        handle = await hold(engine, "w")
        found = {re.sub(r"awfe-\w{16}", "awfe-…", file.name) for file in tmp_path.iterdir()}
        await other.stop("w")
        with pytest.raises(WorkflowStopped):
            await handle
    shown = {"workflows.db", "workflows.db-wal", "workflows.db-shm", "workflows.db-awfe-…"}
    assert found == {*shown, "workflows.db-awfe-….bell"}
    assert all(PAGE.says(f"`{name}`") for name in shown - {"workflows.db-shm"})
    assert [file.name for file in tmp_path.iterdir()] == ["workflows.db"]
    findings = await health.examine(f"sqlite:///{tmp_path}/workflows.db", Settings())
    assert [each for each in findings if each.advice] == []
    assert "journal_mode" in [each.what for each in findings]


async def test_sqlite_has_one_writer(tmp_path: Path) -> None:
    """Who writes waits for another program's transaction, without an error."""
    async with Engine(f"sqlite:///{tmp_path}/w.db") as engine:
        with closing(sqlite3.connect(tmp_path / "w.db", isolation_level=None)) as another:
            another.execute("BEGIN IMMEDIATE")
            creating = asyncio.create_task(engine.create_workflow("w", {}, [Quick]))
            assert await engine.list() == []  # who only reads does not wait
            await asyncio.sleep(0.3)
            assert not creating.done()
            another.execute("COMMIT")
        await creating
        assert (await engine.run("w")).state == "completed"


@pytest.fixture
def shared() -> Iterator[Path]:
    """Return a directory that the group of two users may write to, as the page makes one."""
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    with TemporaryDirectory() as name:
        os.chown(name, 0, GROUP)
        Path(name).chmod(0o2770)
        yield Path(name)


def user(directory: Path, user: int, verb: str) -> "subprocess.Popen[str]":
    """Start a user of the file."""
    url = f"sqlite:///{directory}/w.db"
    command = [sys.executable, "-m", "tests.docs.sqlite_user", url, str(user), str(GROUP), "0007", verb]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own program


@pytest.mark.parametrize(
    ("directory", "file", "refused"),
    [
        (0o2770, 0o660, ""),
        (0o2770, 0o640, "attempt to write a readonly database"),
        (0o2750, 0o660, "no lock can be kept beside it"),
    ],
)
async def test_sqlite_of_two_users(shared: Path, directory: int, file: int, refused: str) -> None:
    """An operator who is not the user of the service stops its workflow at once; or is told what is missing."""
    await migrate(f"sqlite:///{shared}/w.db")
    os.chown(shared / "w.db", SERVICE, GROUP)
    (shared / "w.db").chmod(file)
    holding = user(shared, SERVICE, "hold")
    try:
        assert holding.stdout is not None
        assert holding.stdout.readline() == "held\n"
        shared.chmod(directory)
        said, _ = user(shared, OPERATOR, "stop").communicate(timeout=60)
        assert bool(said) == bool(refused)
        assert refused in said
        assert PAGE.says(refused)
        if not refused:
            assert "'w' is stopped" in holding.communicate(timeout=60)[0]
    finally:
        holding.kill()
        holding.communicate()
