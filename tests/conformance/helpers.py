"""What several files of tests do with workflows and with other processes."""

import asyncio
import os
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url

from awfe import Engine, WorkflowState
from awfe.settings import LOCKS
from tests.conformance.steps import Hold, Note, World
from tests.conformance.worker import Mark, RerunUntilThere, UntilThere
from tests.databases import Database

each_kind_of_lock = pytest.mark.parametrize("locks", LOCKS, indirect=True)
Process = asyncio.subprocess.Process
Start = Callable[..., Awaitable[Process]]
# What a process that is gone has left of a workflow that had not begun.
ORPHAN = (
    "UPDATE awfe_workflow SET state = 'running', step_state = 'running', attempt = 1, run_token = 7, run_id = 'dead',"
    " attempt_started_at = created_at, started_at = created_at, owner = 'gone:1:0123456789abcdef' WHERE id = :id"
)


async def hold(engine: Engine, world: World, name: str = "w") -> asyncio.Task[object]:
    """Run a workflow whose second step waits, and return when it does."""
    await engine.create_workflow(name, {}, [Note("one"), Hold(name), Note("three")])
    task = asyncio.create_task(engine.run(name))
    await world.entered[name].wait()
    return task


async def line(process: Process) -> str:
    """Return the next line that a worker prints."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def create(engine: Engine, marks: Path, *, rerun: bool = False, name: str = "w") -> None:
    """Create a workflow whose second step waits for a file."""
    middle = RerunUntilThere if rerun else UntilThere
    steps = [Mark(str(marks), "one"), middle(str(marks), "two"), Mark(str(marks), "three")]
    await engine.create_workflow(name, {}, steps)


async def lines(marks: Path, count: int) -> list[list[str]]:
    """Return the lines of the file as soon as there are so many."""
    async with asyncio.timeout(60):
        while not marks.exists() or len(marks.read_text().splitlines()) < count:
            await asyncio.sleep(0.01)
    return [text.split() for text in marks.read_text().splitlines()]


async def killed(process: Process) -> None:
    """Kill a process and wait until it is gone."""
    process.kill()
    await process.wait()


async def waits(engine: Engine, name: str = "w") -> None:
    """Return when a workflow waits, and this engine has noticed it."""
    async with asyncio.timeout(30):
        while (await engine.get(name)).state != WorkflowState.WAITING or engine._steering.control.get(name) is not None:
            await asyncio.sleep(0.005)


async def causes(engine: Engine, name: str = "w") -> list[str]:
    """Return the causes of a workflow's history."""
    return [str(event.cause) for event in await engine.history(name)]


async def freeze(process: Process, database: Database) -> None:
    """Stop a process: on SQLite not in the middle of a transaction, for nobody could write then.

    The loop goes on meanwhile: who is in a transaction may be an engine of this very process.
    """
    while True:
        os.kill(process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)  # noqa: ASYNC222 - the kernel stops a process at once
        if database.dialect != "sqlite" or not _is_locked(make_url(database.url).database or ""):
            return
        os.kill(process.pid, signal.SIGCONT)
        await asyncio.sleep(0.001)


def _is_locked(file: str) -> bool:
    with closing(sqlite3.connect(file, timeout=0.0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        connection.execute("ROLLBACK")
        return False
