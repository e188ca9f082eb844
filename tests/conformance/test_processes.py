"""Several processes on one database: refusals, requests, and programs that are ended in order."""

import asyncio
import signal
from pathlib import Path

import pytest

from awfe import Engine, WorkflowLocked, WorkflowState
from tests.conformance.helpers import Start, create, each_kind_of_lock, line, lines

pytestmark = each_kind_of_lock


async def test_what_another_process_runs_is_refused_and_told_where(
    engine: Engine, start: Start, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    await create(engine, marks)
    process = await start("run", "w")
    await lines(marks, 2)
    for verb in (engine.run, engine.start, engine.delete, engine.reset, engine.skip):
        with pytest.raises(WorkflowLocked, match=f":{process.pid}:"):
            await verb("w")
    with pytest.raises(WorkflowLocked):
        await engine.update_context("w", {"a": 1})
    assert (await engine.get("w")).state == "running"
    assert (await engine.recover()).started == ()
    Path(f"{marks}.two").touch()
    assert await line(process) == "completed"
    assert (await engine.wait("w")).state == "completed"
    assert [text for text, *_ in await lines(marks, 3)] == ["one", "two", "three"]


async def test_pause_and_stop_reach_another_process(engine: Engine, start: Start, tmp_path: Path) -> None:
    for name, verb in (("p", engine.pause), ("s", engine.stop)):
        marks = tmp_path / name
        await create(engine, marks, name=name)
        process = await start("run", name)
        await lines(marks, 2)
        await verb(name, actor="me", reason="now")
        if name == "p":
            Path(f"{marks}.two").touch()
        expected = "WorkflowPaused" if name == "p" else "WorkflowStopped"
        assert (await line(process)).startswith(expected)
        workflow = await engine.wait(name)
        assert workflow.state == expected.removeprefix("Workflow").lower()
        assert [text for text, *_ in await lines(marks, 2)] == ["one", "two"]


async def test_a_cancelled_program_stops_what_it_awaits(engine: Engine, start: Start, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    await create(engine, marks)
    process = await start("run", "w")
    await lines(marks, 2)
    process.send_signal(signal.SIGINT)
    await process.wait()
    workflow = await engine.get("w")
    assert (workflow.state, workflow.steps[1].state) == ("stopped", "stopped")
    assert workflow.context == {"begun": 1}
    Path(f"{marks}.two").touch()
    assert (await engine.restart("w")).state == "completed"


async def test_a_loop_that_ends_without_closing_stops_what_runs(engine: Engine, start: Start, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    await create(engine, marks)
    process = await start("abandon", "w")
    assert await line(process) == "False"
    await process.wait()
    workflow = await engine.get("w")
    assert (workflow.state, workflow.steps[1].state) == ("stopped", "stopped")
    Path(f"{marks}.two").touch()
    assert (await engine.restart("w")).state == "completed"


async def test_a_deploy_in_the_middle_of_everything_loses_nothing_and_needs_nobody(
    engine: Engine, start: Start, tmp_path: Path
) -> None:
    """SIGTERM, new code, start: what the old process paused goes on in the new one by itself."""
    names = [f"w{n}" for n in range(8)]
    for name in names:
        await create(engine, tmp_path / name, name=name)
    old = await start("serve", *names)
    for name in names:
        await lines(tmp_path / name, 2)
    old.send_signal(signal.SIGTERM)
    for name in names:
        Path(f"{tmp_path / name}.two").touch()
    assert await old.wait() == 0
    new = await start("serve")
    async with asyncio.timeout(60):
        while (await engine.stats())[WorkflowState.COMPLETED] < len(names):
            await asyncio.sleep(0.05)
    new.send_signal(signal.SIGTERM)
    assert await new.wait() == 0
    for name in names:
        assert [text for text, *_ in await lines(tmp_path / name, 3)] == ["one", "two", "three"]
