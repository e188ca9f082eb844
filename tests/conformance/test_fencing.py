"""Runners that can't act: a blocked loop, a frozen process. Another engine fences them."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from awfe import Engine, WorkflowLocked
from tests.conformance.conftest import OpenEngine
from tests.conformance.helpers import Start, create, each_kind_of_lock, freeze, killed, line, lines
from tests.conformance.worker import BlockUntilThere, Mark
from tests.databases import Database


async def stopped(engine: Engine) -> None:
    """Return when the workflow is stopped."""
    async with asyncio.timeout(30):
        while (await engine.get("w")).state != "stopped":
            await asyncio.sleep(0.02)


@each_kind_of_lock
async def test_a_frozen_runner_is_fenced_by_who_asked_and_finds_out_when_it_goes_on(
    engine: Engine, start: Start, tmp_path: Path, locks: str, database: Database
) -> None:
    marks = tmp_path / "marks"
    await create(engine, marks)
    process = await start("run", "w")
    await lines(marks, 2)
    await freeze(process, database)
    await engine.stop("w", grace=0.1, actor="ann")
    await stopped(engine)
    fenced = next(event for event in await engine.history("w") if event.cause == "fenced")
    assert fenced.actor == engine._crew.owner
    assert f":{process.pid}:" in str(fenced.reason)
    if locks != "lease":
        # A lease has run out by now: its holder counts as gone, and the fence alone holds it off.
        with pytest.raises(WorkflowLocked, match=f"is stopped, but its last step is still alive in .*:{process.pid}:"):
            await engine.restart("w")
    os.kill(process.pid, signal.SIGCONT)
    Path(f"{marks}.two").touch()
    assert (await line(process)).startswith("LockLost"), "its result came too late"
    assert (await engine.get("w")).context == {"begun": 1}
    async with asyncio.timeout(30):
        while "body_ended" not in [event.cause for event in await engine.history("w")]:
            await asyncio.sleep(0.02)
    assert (await engine.restart("w")).state == "completed"
    assert [text for text, _, _ in await lines(marks, 4)] == ["one", "two", "two", "three"]


async def test_any_engine_that_runs_something_fences_too(
    engine: Engine, start: Start, tmp_path: Path, database: Database, open_engine: OpenEngine
) -> None:
    """Whoever asked may be gone."""
    marks = tmp_path / "marks"
    await create(engine, marks)
    await create(engine, tmp_path / "other", name="v")
    process = await start("run", "w")
    await lines(marks, 2)
    handle = await engine.start("v")
    await lines(tmp_path / "other", 2)
    await freeze(process, database)
    asking = await open_engine()
    await asking.stop("w", grace=0.1)
    await asking.close()
    await stopped(engine)
    await killed(process)
    async with asyncio.timeout(30):
        while (await engine.wait("w")).state != "stopped" or await _owner(database) is not None:
            await asyncio.sleep(0.02)
    (tmp_path / "other.two").touch()
    assert (await handle).state == "completed"
    Path(f"{marks}.two").touch()
    assert (await engine.restart("w")).state == "completed"


async def test_a_runner_that_blocks_its_loop_is_fenced(engine: Engine, start: Start, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    await engine.create_workflow("w", {}, [BlockUntilThere(str(marks), "one"), Mark(str(marks), "two")])
    process = await start("run", "w")
    await lines(marks, 1)
    await engine.stop("w", grace=0)
    await stopped(engine)
    with pytest.raises(WorkflowLocked, match=f":{process.pid}:"):
        await engine.restart("w")
    (tmp_path / "marks.one").touch()
    assert (await line(process)).startswith("LockLost")
    assert (await engine.restart("w")).state == "completed"
    assert [text for text, _, _ in await lines(marks, 3)] == ["one", "one", "two"]


async def _owner(database: Database) -> str | None:
    ((owner,),) = await database.execute("SELECT owner FROM awfe_workflow WHERE name = 'w'")
    return None if owner is None else str(owner)
