"""Starting in the background, waiting, pausing, stopping, cancelling and closing."""

import asyncio
import gc
import logging
from contextlib import suppress

import pytest
from anyio import CancelScope

from awfe import (
    Engine,
    EngineNotOpen,
    InvalidInput,
    InvalidState,
    StepError,
    WorkflowHalted,
    WorkflowLocked,
    WorkflowPaused,
    WorkflowStopped,
)
from tests.conformance.conftest import OpenEngine
from tests.conformance.steps import Flaky, Hold, Note, Rerun, Stubborn, World
from tests.databases import Database


async def hold(engine: Engine, world: World, name: str = "w") -> asyncio.Task[object]:
    """Run a workflow whose second step waits, and return when it does."""
    await engine.create_workflow(name, {}, [Note("one"), Hold(name), Note("three")])
    task = asyncio.create_task(engine.run(name))
    await world.entered[name].wait()
    return task


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


async def test_a_second_run_is_refused_wherever_it_comes_from(
    engine: Engine, world: World, open_engine: OpenEngine
) -> None:
    task = await hold(engine, world)
    other = await open_engine()
    for each in (engine, other):
        for verb in (each.run, each.start, each.delete, each.reset, each.skip):
            with pytest.raises(WorkflowLocked, match=r"'w' runs in .*:\d+"):
                await verb("w")
        with pytest.raises(WorkflowLocked):
            await each.update_context("w", {"x": 1})
    world.gates["w"].set()
    await task


async def test_pause_and_stop_from_another_engine(engine: Engine, world: World, open_engine: OpenEngine) -> None:
    other = await open_engine()
    for name, verb, state in (("p", other.pause, "paused"), ("s", other.stop, "stopped")):
        task = await hold(engine, world, name)
        await verb(name)
        if name == "p":
            world.gates[name].set()
        with pytest.raises(WorkflowHalted) as halted:
            await task
        assert halted.value.state == state
        assert (await other.wait(name)).state == state
    assert world.calls == ["one", "p", "one", "s"]


async def test_stop_wins_over_pause(engine: Engine, world: World) -> None:
    task = await hold(engine, world)
    await engine.pause("w")
    await engine.stop("w")
    with pytest.raises(WorkflowStopped):
        await task
    assert (await engine.get("w")).state == "stopped"


async def test_a_pause_in_the_last_step_lapses_and_is_closed_in_the_history(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Hold("one")])
    handle = await engine.start("w")
    await world.entered["one"].wait()
    await engine.pause("w")
    world.gates["one"].set()
    workflow = await handle
    assert (workflow.state, workflow.request) == ("completed", None)
    assert "request_lapsed" in [event.cause for event in await engine.history("w")]


async def test_a_pause_does_not_hide_a_failure(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Hold("one"), Note("two")])
    handle = await engine.start("w")
    await world.entered["one"].wait()
    await engine.pause("w")
    handle._run._attempt.task.cancel()  # type: ignore[union-attr]  # a step that cancels itself has failed
    with pytest.raises(StepError):
        await handle
    assert (await engine.get("w")).state == "error"


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


async def test_a_stubborn_step_is_fenced_and_keeps_the_lock_until_it_ends(
    engine: Engine, world: World, open_engine: OpenEngine
) -> None:
    other = await open_engine()
    await engine.create_workflow("w", {}, [Stubborn("one", checkpoint=True)])
    handle = await engine.start("w")
    await world.entered["one"].wait()
    await engine.stop("w", grace=0.05)
    with pytest.raises(WorkflowStopped):
        await handle
    assert (await engine.get("w")).state == "stopped"
    for each in (engine, other):
        for verb in (each.reset, each.skip, each.delete):
            with pytest.raises(WorkflowLocked, match="still alive"):
                await verb("w")
    world.gates["one"].set()
    async with asyncio.timeout(20):
        while True:
            with suppress(WorkflowLocked):
                await other.reset("w")
                break
            await asyncio.sleep(0.01)
    assert (await engine.run("w")).state == "completed"
    assert (await engine.get("w")).context == {"late": True}


async def test_a_bad_grace_is_refused(engine: Engine, world: World) -> None:
    task = await hold(engine, world)
    for grace in (-1, float("nan"), "1", True):
        with pytest.raises(InvalidInput, match="grace="):
            await engine.stop("w", grace)  # type: ignore[arg-type]  # what is tested
    world.gates["w"].set()
    await task


async def test_in_line_a_workflow_keeps_its_state_and_may_be_taken_out(open_engine: OpenEngine, world: World) -> None:
    engine = await open_engine(max_running=1)
    first = await hold(engine, world, "first")
    for name in ("p", "s", "c", "last"):
        await engine.create_workflow(name, {}, [Note(name)])
    queued = {name: await engine.start(name) for name in ("p", "s", "last")}
    with pytest.raises(WorkflowLocked, match="in line"):
        await engine.start("p")
    cancelled = asyncio.create_task(engine.run("c"))
    await asyncio.sleep(0.05)
    assert (await engine.get("p")).state == "pending"
    await engine.pause("p", reason="not now")
    await engine.stop("s")
    cancelled.cancel()
    with pytest.raises(WorkflowPaused):
        await queued["p"]
    with pytest.raises(WorkflowStopped):
        await queued["s"]
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert {name: (await engine.get(name)).state for name in ("p", "s", "c")} == dict.fromkeys("psc", "pending")
    assert [event.reason for event in await engine.history("p")] == [None, "not now"]
    world.gates["first"].set()
    await first
    assert (await queued["last"]).state == "completed"
    assert (await engine.run("p")).state == "completed"
    assert world.calls == ["one", "first", "three", "last", "p"]


async def test_a_finished_workflow_can_be_run_on_at_once(engine: Engine) -> None:
    """Whoever learns how a run ended finds its lock given back."""
    await engine.create_workflow("w", {}, [Flaky("one", 20)])
    for _ in range(20):
        with pytest.raises(StepError):
            await engine.run("w")
        await engine.reset("w")
    assert (await engine.run("w")).state == "completed"


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


async def test_refused_requests_name_the_state(engine: Engine) -> None:
    await engine.create_workflow("w", {}, [Note("one")])
    with pytest.raises(InvalidState, match="'w' is in state pending: pause is allowed in running"):
        await engine.pause("w")
