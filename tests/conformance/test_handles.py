"""Waiting for a run: handles, errors that nobody awaited, and callers that are cancelled."""

import asyncio
import gc
import logging

import pytest
from anyio import CancelScope

from awfe import (
    Engine,
    StepError,
    WorkflowPaused,
    WorkflowStopped,
)
from tests.conformance.helpers import hold
from tests.conformance.steps import Flaky, Hold, Note, World
from tests.databases import Database


async def test_many_may_await_a_handle_and_cancelling_one_only_stops_his_waiting(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Hold("one")])
    handle = await engine.start("w")

    async def result() -> object:
        return await handle

    waiters = [asyncio.create_task(result()) for _ in range(3)]
    await world.entered["one"].wait()
    waiters[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiters[0]
    assert not handle.done()
    world.gates["one"].set()
    assert await waiters[1] == await waiters[2] == await handle == await engine.get("w")
    assert handle.done()


async def test_a_handle_pauses_and_stops(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Hold("one"), Hold("two"), Note("three")])
    handle = await engine.start("w")
    await world.entered["one"].wait()
    await handle.pause(actor="ann", reason="lunch")
    world.gates["one"].set()
    with pytest.raises(WorkflowPaused):
        await handle
    handle = await engine.start("w")
    await world.entered["two"].wait()
    await handle.stop(1.0, actor="bob", reason="enough")
    with pytest.raises(WorkflowStopped):
        await handle
    told = [(event.cause, event.actor, event.reason) for event in await engine.history("w") if event.reason]
    assert told == [("pause", "ann", "lunch"), ("stop", "bob", "enough")]


async def test_an_error_that_nobody_awaited_is_logged_once(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    await engine.create_workflow("w", {}, [Flaky("one", 9)])
    await engine.start("w")
    await engine.wait("w")
    gc.collect()
    await asyncio.sleep(0)
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR] == [
        "'w' failed at step 1 (Flaky): ValueError: one fails"
    ]


async def test_an_error_that_was_awaited_is_not_logged(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    await engine.create_workflow("w", {}, [Flaky("one", 9)])
    handle = await engine.start("w")
    with pytest.raises(StepError):
        await handle
    del handle
    gc.collect()
    assert not [r for r in caplog.records if r.levelno == logging.ERROR]


async def test_wait_returns_when_it_rests_and_times_out_before(engine: Engine, world: World) -> None:
    task = await hold(engine, world)
    with pytest.raises(TimeoutError):
        await engine.wait("w", 0.05)
    waiting = asyncio.create_task(engine.wait("w"))
    world.gates["w"].set()
    assert (await waiting).state == "completed"
    assert (await engine.wait("w", 0.5)).state == "completed"
    await task


async def test_cancelling_the_caller_of_run_is_a_stop(engine: Engine, world: World, database: Database) -> None:
    task = await hold(engine, world)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.cleaned == ["w"]
    workflow = await engine.get("w")
    assert (workflow.state, workflow.steps[1].state) == ("stopped", "stopped")
    world.gates["w"].set()
    assert (await engine.restart("w")).state == "completed", "the lock was given back"
    rows = await database.execute("SELECT owner FROM awfe_workflow")
    assert rows == [(None,)]


async def test_cancelling_by_an_anyio_scope_twice_is_a_stop_too(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Hold("one")])

    async def run() -> None:
        with CancelScope() as scope:
            asyncio.get_running_loop().call_soon(_cancel_when_entered, world, scope)
            await engine.run("w")

    await asyncio.create_task(run())
    assert (await engine.get("w")).state == "stopped"


def _cancel_when_entered(world: World, scope: CancelScope) -> None:
    if world.entered["one"].is_set():
        scope.cancel()
    else:
        asyncio.get_running_loop().call_later(0.01, _cancel_when_entered, world, scope)


async def test_a_finished_workflow_can_be_run_on_at_once(engine: Engine) -> None:
    """Whoever learns how a run ended finds its lock given back."""
    await engine.create_workflow("w", {}, [Flaky("one", 20)])
    for _ in range(20):
        with pytest.raises(StepError):
            await engine.run("w")
        await engine.reset("w")
    assert (await engine.run("w")).state == "completed"
