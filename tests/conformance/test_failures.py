"""Failing: what counts as a failure, what is saved of it, and what is tried again."""

import asyncio

import pytest

from awfe import (
    Context,
    ContextError,
    Engine,
    InvalidInput,
    LockLost,
    Retry,
    StepError,
    StepTimeout,
    WorkflowStopped,
    step,
)
from tests.conformance.steps import Flaky, Hold, Note, Stubborn, World
from tests.databases import Database


@step
async def raises(_ctx: Context, kind: str) -> None:
    """Raise what tests can't put into arguments."""
    raise {"exit": SystemExit(3), "interrupt": KeyboardInterrupt(), "cancelled": asyncio.CancelledError()}[kind]


async def test_retries_begin_with_the_context_before_the_step(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Flaky("one", 2).using(retry=Retry(attempts=3, wait=0)), Note("two")])
    workflow = await engine.run("w")
    assert workflow.context == {"tries": 1}
    assert workflow.steps[0].attempt == 3
    assert world.calls == ["one"] * 3 + ["two"]
    failures = [event for event in await engine.history("w") if event.cause == "step_error"]
    assert [event.attempt for event in failures] == [1, 2]


async def test_a_retry_is_waited_for_and_then_done(engine: Engine, world: World) -> None:
    flaky = Flaky("one", 2).using(retry=Retry(attempts=3, wait=0.05, factor=1.0))
    await engine.create_workflow("w", {}, [flaky])
    assert (await engine.run("w")).state == "completed"
    assert world.calls == ["one"] * 3


async def test_pause_and_stop_take_effect_at_once_between_two_attempts(engine: Engine, world: World) -> None:
    for name, verb, state in (("p", engine.pause, "paused"), ("s", engine.stop, "stopped")):
        flaky = Flaky(name, 9).using(retry=Retry(attempts=9, wait=9))
        await engine.create_workflow(name, {}, [flaky])
        await engine.start(name)
        while (workflow := await engine.get(name)).steps[0].due_at is None:
            await asyncio.sleep(0.01)
        assert (workflow.state, workflow.steps[0].state, workflow.steps[0].attempt) == ("running", "pending", 1)
        assert workflow.steps[0].error is not None
        await verb(name)
        assert (await engine.wait(name, 20)).state == state
    assert world.calls == ["p", "s"]


async def test_a_timeout_is_a_step_error_of_its_own_kind(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Hold("one").using(timeout=0.05)])
    with pytest.raises(StepTimeout, match=r"timeout of 0\.05 s"):
        await engine.run("w")
    assert world.cleaned == ["one"]
    error = (await engine.get("w")).steps[0].error
    assert error is not None
    assert error.type == "TimeoutError"


async def test_a_timed_out_attempt_is_retried(engine: Engine, world: World) -> None:
    once = Hold("one").using(timeout=0.05, retry=Retry(attempts=2, wait=0))
    await engine.create_workflow("w", {}, [once])
    with pytest.raises(StepTimeout):
        await engine.run("w")
    assert world.calls == ["one", "one"]


async def test_on_error_skip_keeps_the_error_and_drops_the_changes(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Flaky("one", 9).using(on_error="skip"), Note("two")])
    workflow = await engine.run("w")
    skipped = workflow.steps[0]
    assert (skipped.state, workflow.context) == ("skipped", {})
    assert skipped.error is not None
    assert skipped.changes.set == {"tries": 1}
    assert world.calls == ["one", "two"]


@pytest.mark.parametrize(("kind", "error_type"), [("exit", "SystemExit"), ("cancelled", "CancelledError")])
async def test_an_exception_of_any_kind_is_a_failure(engine: Engine, kind: str, error_type: str) -> None:
    await engine.create_workflow("w", {}, [raises(kind)])
    with pytest.raises(StepError):
        await engine.run("w")
    error = (await engine.get("w")).steps[0].error
    assert error is not None
    assert error.type.endswith(error_type)


async def test_a_keyboard_interrupt_in_a_step_is_a_stop(engine: Engine) -> None:
    await engine.create_workflow("w", {}, [raises("interrupt")])
    with pytest.raises(WorkflowStopped) as stopped:
        await engine.run("w")
    assert isinstance(stopped.value.__cause__, KeyboardInterrupt)
    assert (await engine.get("w")).steps[0].state == "stopped"


@step
async def hostile(_ctx: Context, kind: str) -> None:
    """Fail with a text that is hard to save."""
    if kind == "broken str":

        class BrokenStr(Exception):
            def __str__(self) -> str:
                message = "not even this"
                raise RuntimeError(message)

        raise BrokenStr
    raise ValueError({"nul": "a\0b", "surrogate": "a\ud800b", "huge": "x" * 10_000_000}[kind])


@pytest.mark.parametrize("kind", ["nul", "surrogate", "huge", "broken str"])
async def test_saving_a_failure_cannot_fail_for_its_text(engine: Engine, kind: str) -> None:
    await engine.create_workflow("w", {}, [hostile(kind)])
    with pytest.raises(StepError) as failure:
        await engine.run("w")
    assert type(failure.value.__cause__).__name__ in {"ValueError", "BrokenStr"}
    error = (await engine.get("w")).steps[0].error
    assert error is not None
    assert len(error.message) < 20_000
    assert len(error.traceback) < 80_000


@step
async def breaks_context(ctx: Context, how: str) -> None:
    """Put into the context what it can't keep, behind its back."""
    if how == "returns":
        return 5  # type: ignore[return-value]  # what is tested
    if how == "live":
        ctx.setdefault("list", []).append({1, 2})
    elif how == "size":
        ctx["big"] = "x" * 5_000
    else:
        ctx["big"] = "x" * 5_000
        await ctx.checkpoint()
    return None


async def test_a_value_that_cannot_be_kept_fails_the_step_with_its_path(engine: Engine) -> None:
    await engine.create_workflow("w", {}, [breaks_context("live")])
    with pytest.raises(StepError) as failure:
        await engine.run("w")
    assert isinstance(failure.value.__cause__, ContextError)
    assert "context['list'][0]" in str(failure.value)
    assert (await engine.get("w")).context == {}


async def test_a_result_of_work_is_refused(engine: Engine) -> None:
    await engine.create_workflow("w", {}, [breaks_context("returns")])
    with pytest.raises(StepError, match="put results into ctx") as failure:
        await engine.run("w")
    assert isinstance(failure.value.__cause__, InvalidInput)


@pytest.mark.parametrize("how", ["size", "checkpoint"])
async def test_a_context_beyond_its_limit_fails_the_step(database: Database, how: str) -> None:
    async with Engine(database.url, max_context_bytes=4_000) as engine:
        await engine.create_workflow("w", {}, [breaks_context(how)])
        with pytest.raises(StepError, match="max_context_bytes=4000"):
            await engine.run("w")
        assert (await engine.get("w")).context == {}
        with pytest.raises(ContextError, match="max_context_bytes"):
            await engine.update_context("w", {"big": "x" * 5_000})
        with pytest.raises(ContextError, match="max_context_bytes"):
            await engine.create_workflow("v", {"big": "x" * 5_000}, [Note("one")])


async def test_a_stubborn_step_that_timed_out_is_not_overlapped_by_a_retry(engine: Engine, world: World) -> None:
    async with asyncio.timeout(30):
        stubborn = Stubborn("one", checkpoint=True).using(timeout=0.05, retry=Retry(attempts=5, wait=0))
        await engine.create_workflow("w", {}, [stubborn])
        engine._crew.settings.__dict__["stop_grace"] = 0.05
        with pytest.raises(StepTimeout):
            await engine.run("w")
        assert world.calls == ["one"]
        world.gates["one"].set()
        while "late" not in world.failing:
            await asyncio.sleep(0.01)
        assert isinstance(world.failing["late"], LockLost), "a fenced body can't save anything"
        assert (await engine.get("w")).context == {}
