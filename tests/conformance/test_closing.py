"""Engines that open and close, and what becomes of the workflows that they run."""

import asyncio

import pytest

from awfe import (
    Engine,
    EngineNotOpen,
    Event,
    StepError,
    WorkflowPaused,
)
from tests.conformance.conftest import OpenEngine
from tests.conformance.helpers import hold
from tests.conformance.steps import Hold, Note, Rerun, Stubborn, World
from tests.databases import Database


async def test_closing_pauses_and_recover_goes_on(database: Database, world: World) -> None:
    async with Engine(database.url) as engine:
        task = await hold(engine, world)
        closing = asyncio.create_task(engine.close())
        await asyncio.sleep(0)
        with pytest.raises(EngineNotOpen):
            await engine.get("w")
        world.gates["w"].set()
        await closing
        with pytest.raises(WorkflowPaused):
            await task
    async with Engine(database.url) as engine:
        workflow = await engine.get("w")
        assert (workflow.state, workflow.position) == ("paused", 3)
        assert "shutdown" in [event.cause for event in await engine.history("w")]
        assert (await engine.recover()).started == ("w",)
        assert (await engine.wait("w")).state == "completed"
        assert await engine.recover() == await engine.recover()
    assert world.calls == ["one", "w", "three"]


async def test_what_an_operator_paused_is_not_taken_up(engine: Engine, world: World) -> None:
    task = await hold(engine, world)
    await engine.pause("w")
    world.gates["w"].set()
    with pytest.raises(WorkflowPaused):
        await task
    assert (await engine.recover()).started == ()
    assert (await engine.get("w")).state == "paused"


async def test_closing_cuts_off_what_takes_longer_than_the_grace(database: Database, world: World) -> None:
    async with Engine(database.url, shutdown_grace=0.05) as engine:
        await engine.create_workflow("safe", {}, [Rerun("safe", {"x": 1}, {"saved": 1})])
        await engine.create_workflow("unsafe", {}, [Hold("unsafe")])
        handles = [await engine.start(name) for name in ("safe", "unsafe")]
        await world.entered["safe"].wait()
        await world.entered["unsafe"].wait()
    with pytest.raises(WorkflowPaused):
        await handles[0]
    with pytest.raises(StepError, match="engine was closed"):
        await handles[1]
    assert sorted(world.cleaned) == ["safe", "unsafe"]
    world.gates["safe"].set()
    async with Engine(database.url) as engine:
        safe, unsafe = await engine.get("safe"), await engine.get("unsafe")
        assert (safe.state, safe.steps[0].state, safe.context) == ("paused", "pending", {"saved": 1})
        assert (unsafe.state, unsafe.steps[0].state) == ("error", "interrupted")
        recovered = await engine.recover()
        assert (recovered.started, recovered.refused) == (("safe",), ())
        assert (await engine.wait("safe")).context == {"saved": 1, "x": 1}


async def test_closing_does_not_wait_for_ever_for_a_body_that_does_not_end(
    database: Database, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with Engine(database.url, shutdown_grace=0.05, stop_grace=0.05) as engine:
        await engine.create_workflow("w", {}, [Stubborn("one")])
        await engine.start("w")
        await world.entered["one"].wait()
    assert "its lock is given back all the same" in caplog.text
    world.gates["one"].set()
    async with Engine(database.url, takeover_delay=0.05) as engine:
        assert (await engine.reset("w")).state == "paused"


async def test_queued_workflows_keep_their_state_when_the_engine_closes(database: Database, world: World) -> None:
    async with Engine(database.url, max_running=1) as engine:
        task = await hold(engine, world, "first")
        await engine.create_workflow("next", {}, [Note("next")])
        queued = await engine.start("next")
        closing = asyncio.create_task(engine.close())
        world.gates["first"].set()
        with pytest.raises(WorkflowPaused):
            await queued
        await closing
        with pytest.raises(WorkflowPaused):
            await task
    async with Engine(database.url) as engine:
        assert (await engine.get("next")).state == "pending"


async def test_an_engine_opens_and_closes_from_different_tasks_and_again(database: Database) -> None:
    engine = Engine(database.url)
    with pytest.raises(EngineNotOpen, match="async with"):
        await engine.list()
    await asyncio.create_task(engine.open())
    await asyncio.create_task(engine.open())
    assert await engine.list() == []
    await asyncio.create_task(engine.close())
    await asyncio.create_task(engine.close())
    with pytest.raises(EngineNotOpen):
        await engine.run("w")
    async with engine:
        assert await engine.list() == []
    assert await database.sessions(settle=5) == []


async def test_what_ends_early_in_closing_leaves_no_connection_open(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop that goes down cancels the tasks in which SQLAlchemy closes connections."""
    engine = Engine(database.url)
    await engine.open()
    await engine.create_workflow("w", {}, [Note("one")])
    await engine.run("w")

    async def cancelled(*_args: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(engine._announcer, "close", cancelled)
    with pytest.raises(asyncio.CancelledError):
        await engine.close()
    assert await database.sessions(settle=10) == []


async def test_an_observer_that_hangs_keeps_no_engine_open(open_engine: OpenEngine) -> None:
    engine = await open_engine(shutdown_grace=0.1)
    ended = []

    @engine.observer
    async def hangs(_event: Event) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("cut off")

    await engine.create_workflow("w", {}, [Note("one")])
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await engine.close()
    assert ended == ["cut off"]
