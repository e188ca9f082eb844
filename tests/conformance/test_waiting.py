"""Steps that wait: for a time, for another look, for a signal; and workflows that are due later."""

import asyncio
import gc
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from awfe import (
    Context,
    Engine,
    InvalidInput,
    Retry,
    StepError,
    StepTimeout,
    WorkflowPaused,
    WorkflowState,
    WorkflowStopped,
)
from tests.conformance.conftest import OpenEngine
from tests.conformance.helpers import causes, each_kind_of_lock, waits
from tests.conformance.steps import Flaky, Note, World
from tests.conformance.waiting_steps import FAR, Await, Nap, Poll, Soon
from tests.databases import Database

WAITING = WorkflowState.WAITING


@each_kind_of_lock
async def test_a_run_goes_on_when_what_it_waits_for_is_due(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Nap("nap", {"a": 1}, 0.05), Soon, Note("after")])
    workflow = await engine.run("w")
    assert (workflow.state, workflow.context) == ("completed", {"a": 1, "slept": True})
    assert world.calls == ["nap", "after"]
    assert [step.attempt for step in workflow.steps] == [1, 1, 1]
    told = await causes(engine)
    assert told[:5] == ["created", "run", "step_waiting", "run", "step_completed"]


async def test_what_waits_holds_nothing_and_is_shown(engine: Engine, database: Database) -> None:
    await engine.create_workflow("w", {}, [Nap("nap", {"a": 1}, text="good night\n"), Note("after")])
    handle = await engine.start("w")
    await waits(engine)
    workflow = await engine.get("w")
    step = workflow.steps[0]
    assert (workflow.state, step.state, step.attempt, step.output) == ("waiting", "waiting", 1, "good night\n")
    assert step.due_at is not None
    assert step.due_at > datetime.now(UTC) + timedelta(seconds=FAR - 60)
    assert (step.ended_at, step.changes.set, workflow.context) == (None, {"a": 1}, {"a": 1})
    (row,) = await database.execute("SELECT owner, request FROM awfe_workflow")
    assert row == (None, None)
    assert not await engine._crew.locks.is_held(1, engine._crew.owner) or database.dialect == "sqlite"
    assert not handle.done()
    assert not engine._steering.control
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not [name for name in names if "w" in name.split() and name.startswith("awfe")]
    assert (await engine.stats())[WAITING] == 1


async def test_a_signal_ends_the_wait_and_its_payload_is_in_the_context(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Await("one"), Await("two", topic="other", save_as="answer"), Note("after")])
    task = asyncio.create_task(engine.run("w"))
    await waits(engine)
    assert (await engine.get("w")).steps[0].signal == "go"
    await engine.signal("w", "go", {"n": [1, "é\0"]}, actor="ada", reason="ready")
    await engine.signal("w", "other", None)
    workflow = await task
    assert workflow.context == {"go": {"n": [1, "é\0"]}, "answer": None}
    assert workflow.steps[0].changes.set == {"go": {"n": [1, "é\0"]}}
    assert world.calls == ["one", "two", "after"]
    signal = next(event for event in await engine.history("w") if event.cause == "signal")
    assert (signal.actor, signal.reason, signal.before, signal.after) == ("ada", "ready", "waiting", "waiting")


async def test_signals_that_came_before_are_taken_once_and_in_order(
    engine: Engine, world: World, database: Database
) -> None:
    await engine.create_workflow(
        "w", {}, [*(Await(name, save_as=name) for name in ("a", "b", "c")), Await("end", topic="end")]
    )
    await engine.signal("w", "go", 1)
    await engine.signal("w", "unheard", 0)
    await engine.signal("w", "go", 2)
    handle = await engine.start("w")
    async with asyncio.timeout(30):
        while (await engine.get("w")).position != 3:
            await asyncio.sleep(0.01)
    await waits(engine)
    assert (await engine.get("w")).context == {"a": 1, "b": 2}
    await asyncio.gather(engine.signal("w", "go", 3), engine.signal("w", "go", 4))
    # One that has ended takes no signal, so it does not end before both are stored.
    await engine.signal("w", "end")
    assert (await handle).context["c"] in (3, 4)
    assert world.calls == ["a", "b", "c", "end"]
    taken = await database.execute("SELECT topic, taken_rev FROM awfe_signal ORDER BY id")
    assert [topic for topic, rev in taken if rev is None] == ["unheard", "go"]


@each_kind_of_lock
async def test_a_signal_of_another_engine_is_heard(engine: Engine, open_engine: OpenEngine) -> None:
    other = await open_engine()
    await engine.create_workflow("w", {}, [Await("one"), Note("after")])
    handle = await engine.start("w")
    await waits(engine)
    await other.signal("w", "go", 7)
    assert (await handle).context == {"go": 7}


async def test_a_wait_that_takes_too_long_is_a_step_error_or_a_value(engine: Engine, world: World) -> None:
    await engine.create_workflow("e", {}, [Await("one", limit=0.03)])
    with pytest.raises(StepTimeout, match=r"no signal 'go' came within 0\.03 s") as failed:
        await engine.run("e")
    assert (failed.value.position, failed.value.step) == (1, "Await")
    error = (await engine.get("e")).steps[0].error
    assert error is not None
    assert error.type == "TimeoutError"
    await engine.signal("e", "go", "late")
    assert (await engine.restart("e")).context == {"go": "late"}
    await engine.create_workflow("v", {}, [Await("two", limit=0.03, otherwise=[None]), Note("after")])
    assert (await engine.run("v")).context == {"go": None}
    assert world.calls == ["one", "one", "two", "after"]


async def test_a_timeout_is_retried_and_skipped_as_other_errors_are(engine: Engine, world: World) -> None:
    twice = Await("r", limit=0.02).using(retry=Retry(attempts=2, wait=0))
    await engine.create_workflow("r", {}, [twice])
    with pytest.raises(StepTimeout):
        await engine.run("r")
    assert world.calls == ["r", "r"]
    await engine.create_workflow("s", {}, [Await("s", limit=0.02).using(on_error="skip"), Note("after")])
    assert (await engine.run("s")).steps[0].state == "skipped"


async def test_polling_is_one_attempt_whose_changes_are_kept(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Poll("look", 3), Note("after")])
    workflow = await engine.run("w")
    assert workflow.context == {"looked": 3}
    assert world.calls == ["look"] * 3 + ["after"]
    assert world.keys[:3] == ["1 None", "1 due", "1 due"]
    assert (workflow.steps[0].attempt, workflow.steps[0].state) == (1, "completed")
    assert workflow.steps[0].changes.set == {"looked": 3}


async def test_the_timeout_and_the_hooks_are_of_each_look(engine: Engine, world: World) -> None:
    """All looks of the attempt together take longer than its step may."""
    hooked: list[int] = []

    @engine.before_step
    async def before(ctx: Context) -> None:
        hooked.append(ctx.step.attempt)

    await engine.create_workflow("w", {}, [Poll("look", 3, 1.5).using(timeout=2.5)])
    await engine.run("w")
    assert world.calls == ["look"] * 3
    assert hooked == [1, 1, 1]


async def test_a_signal_lets_a_step_look_at_once(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Poll("look", 9, FAR, "hurry"), Note("after")])
    handle = await engine.start("w")
    await waits(engine)
    await engine.signal("w", "hurry")
    assert (await handle).context == {"looked": 2}
    assert world.keys[:2] == ["1 None", "1 signal"]


async def test_a_long_delay_before_a_retry_makes_it_wait(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Flaky("one", 1).using(retry=Retry(attempts=2, wait=FAR))])
    handle = await engine.start("w")
    await waits(engine)
    step = (await engine.get("w")).steps[0]
    assert (step.state, step.attempt, step.due_at is not None) == ("pending", 1, True)
    assert step.error is not None
    await engine.pause("w")
    with pytest.raises(WorkflowPaused):
        await handle
    workflow = await engine.run("w")
    assert (workflow.state, workflow.steps[0].attempt) == ("completed", 2)
    assert world.calls == ["one", "one"]


async def test_pause_lets_a_step_wait_on_and_stop_ends_it(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Await("one"), Note("after")])
    handle = await engine.start("w")
    await waits(engine)
    await engine.pause("w", actor="ada", reason="tea")
    with pytest.raises(WorkflowPaused):
        await handle
    workflow = await engine.get("w")
    assert (workflow.state, workflow.steps[0].state, workflow.steps[0].signal) == ("paused", "waiting", "go")
    handle = await engine.start("w")
    await waits(engine)
    await engine.stop("w")
    with pytest.raises(WorkflowStopped):
        await handle
    assert (await engine.get("w")).steps[0].state == "stopped"
    await engine.signal("w", "go", 1)
    assert (await engine.restart("w")).context == {"go": 1}
    assert world.calls == ["one", "one", "after"]
    assert "pause" in await causes(engine)


async def test_what_came_while_it_was_paused_counts(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Await("one"), Note("after")])
    await engine.start("w")
    await waits(engine)
    await engine.pause("w")
    await engine.signal("w", "go", 1)
    assert (await engine.run("w")).context == {"go": 1}
    assert world.calls == ["one", "after"]


async def test_a_workflow_can_be_due_later(engine: Engine, world: World) -> None:
    now = datetime.now(UTC)
    past, future = now - timedelta(seconds=1), now + timedelta(days=1)
    created = await engine.create_workflow("past", {}, [Note("past")], at=past)
    assert created.scheduled_at == past
    await engine.create_workflow("future", {}, [Note("future")], at=future)
    assert (await engine.recover()).started == ("past",)
    assert (await engine.wait("past")).state == "completed"
    assert (await engine.recover()).started == ()
    assert (await engine.get("future")).state == "pending"
    assert (await engine.run("future")).state == "completed"
    assert world.calls == ["past", "future"]


async def test_recover_every_takes_up_what_is_due(open_engine: OpenEngine, engine: Engine) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=0.2)
    await engine.create_workflow("later", {}, [Note("one")], at=soon)
    await engine.create_workflow("w", {}, [Nap("nap", {}, 0.2), Note("after")])
    closing = await open_engine()
    await closing.start("w")
    await waits(closing)
    await closing.close()
    await open_engine(recover_every=0.05)
    async with asyncio.timeout(30):
        while (await engine.stats())[WorkflowState.COMPLETED] != 2:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("topic", "payload"),
    [("", 1), ("x" * 201, 1), ("a\nb", 1), (7, 1), ("awfe.child", 1), ("go", {1, 2}), ("go", float("nan"))],
)
async def test_a_bad_signal_is_refused(engine: Engine, topic: Any, payload: Any, database: Database) -> None:
    await engine.create_workflow("w", {}, [Await("one")])
    with pytest.raises(InvalidInput):
        await engine.signal("w", topic, payload)
    assert await database.execute("SELECT COUNT(*) FROM awfe_signal") == [(0,)]


async def test_a_payload_that_does_not_fit_fails_the_step_and_is_kept(open_engine: OpenEngine) -> None:
    engine = await open_engine(max_context_bytes=1024)
    await engine.create_workflow("w", {"a": "x" * 600}, [Await("one")])
    with pytest.raises(InvalidInput, match="max_context_bytes"):
        await engine.signal("w", "go", "y" * 2000)
    await engine.signal("w", "go", "y" * 800)
    with pytest.raises(StepError, match="max_context_bytes"):
        await engine.run("w")
    await engine.update_context("w", {"a": ""})
    assert (await engine.restart("w")).context["go"] == "y" * 800


async def test_signals_of_a_deleted_workflow_are_gone(engine: Engine, database: Database) -> None:
    await engine.create_workflow("w", {}, [Await("one")])
    await engine.signal("w", "go", 1)
    await engine.delete("w")
    assert await database.execute("SELECT COUNT(*) FROM awfe_signal") == [(0,)]


async def test_many_wait_without_a_task_each(open_engine: OpenEngine, world: World) -> None:
    engine = await open_engine(max_running=50, poll_interval=3600.0, locks="shared")
    names = [f"w{n:03}" for n in range(60)]
    handles = []
    for name in names:
        await engine.create_workflow(name, {}, [Await(name)])
        handles.append(await engine.start(name))
    for name in names:
        await waits(engine, name)
    gc.collect()
    assert len(engine._steering.control.waiting) == len(names)
    assert not [task for task in asyncio.all_tasks() if "run" in task.get_name().split()]
    for name in names:
        await engine.signal(name, "go", name)
    for name, handle in zip(names, handles, strict=True):
        assert (await handle).context == {"go": name}
    assert sorted(world.calls) == names
