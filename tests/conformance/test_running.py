"""Running, failing and going on in place."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from awfe import (
    BaseStep,
    Context,
    ContextError,
    Engine,
    ErrorState,
    InvalidInput,
    LockLost,
    Retry,
    StepError,
    StepNotFound,
    StepTimeout,
    Workflow,
    WorkflowExists,
    WorkflowNotFound,
    WorkflowStopped,
    step,
)
from tests.conformance.steps import Flaky, Hold, Note, Stubborn, World
from tests.databases import Database


@step
async def append(ctx: Context, item: int) -> None:
    """Change a value that was handed out, in place."""
    ctx.setdefault("items", []).append(item)


@step
async def fail_after(ctx: Context, saved: str, lost: str) -> None:
    """Checkpoint one key, change another, and fail."""
    ctx[saved] = True
    await ctx.checkpoint()
    ctx[lost] = True
    ctx["start"] = 99
    message = "broken"
    raise RuntimeError(message)


@step
async def raises(_ctx: Context, kind: str) -> None:
    """Raise what tests can't put into arguments."""
    raise {"exit": SystemExit(3), "interrupt": KeyboardInterrupt(), "cancelled": asyncio.CancelledError()}[kind]


async def test_steps_run_in_order_and_share_a_context(engine: Engine, world: World) -> None:
    created = await engine.create_workflow("w", {"start": 0}, [Note("one", {"a": 1}), append(1), append(2)])
    assert (created.state, created.position) == ("pending", 1)
    workflow = await engine.run("w")
    assert workflow == await engine.get("w")
    assert (workflow.state, workflow.position) == ("completed", None)
    assert workflow.context == {"start": 0, "a": 1, "items": [1, 2]}
    assert workflow.initial_context == {"start": 0}
    assert [s.state for s in workflow.steps] == ["completed"] * 3
    assert [s.changes.set for s in workflow.steps] == [{"a": 1}, {"items": [1]}, {"items": [1, 2]}]
    assert [s.attempt for s in workflow.steps] == [1, 1, 1]
    assert workflow.steps[1].args == {"item": 1}
    assert workflow.steps[1].name == "append"
    assert world.calls == ["one"]


async def test_times_are_aware_utc_and_in_order(engine: Engine) -> None:
    began = datetime.now(UTC) - timedelta(milliseconds=1)
    await engine.create_workflow("w", {}, [Note("one")])
    workflow = await engine.run("w")
    first = workflow.steps[0]
    times = [began, workflow.created_at, workflow.started_at, first.started_at, first.ended_at, workflow.ended_at]
    assert all(time is not None and time.tzinfo is UTC for time in times)
    assert times == sorted(times, key=lambda time: time or began)


async def test_a_completed_workflow_returns_at_once_and_runs_nothing(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Note("one")])
    first = await engine.run("w")
    assert await engine.run("w") == first
    assert await (await engine.start("w")) == first
    assert world.calls == ["one"]


async def test_a_failing_step_pauses_and_goes_on_in_place(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Note("one"), Flaky("two", 1), Note("three")])
    with pytest.raises(StepError) as failure:
        await engine.run("w")
    assert (failure.value.workflow, failure.value.position, failure.value.step) == ("w", 2, "Flaky")
    assert isinstance(failure.value.__cause__, ValueError)
    workflow = await engine.get("w")
    broken = workflow.steps[1]
    assert (workflow.state, broken.state, workflow.position) == ("error", "error", 2)
    assert broken.error is not None
    assert (broken.error.type, broken.error.message) == ("ValueError", "two fails")
    assert "raise ValueError" in broken.error.traceback
    assert (await engine.restart("w")).state == "completed"
    assert world.calls == ["one", "two", "two", "three"]


async def test_a_failed_attempt_leaves_only_what_it_checkpointed(engine: Engine) -> None:
    await engine.create_workflow("w", {"start": 0}, [fail_after("kept", "lost")])
    with pytest.raises(StepError):
        await engine.run("w")
    workflow = await engine.get("w")
    assert workflow.context == {"start": 0, "kept": True}
    assert workflow.steps[0].changes.set == {"kept": True, "lost": True, "start": 99}
    assert (await engine.reset("w")).context == {"start": 0, "kept": True}


async def test_keep_context_takes_over_what_the_failed_attempt_changed(engine: Engine) -> None:
    await engine.create_workflow("w", {"start": 0}, [fail_after("kept", "lost"), Note("two")])
    with pytest.raises(StepError):
        await engine.run("w")
    workflow = await engine.reset("w", keep_context=True, context={"new": 1})
    assert workflow.context == {"start": 99, "kept": True, "lost": True, "new": 1}
    assert (workflow.state, workflow.steps[0].state, workflow.steps[0].error) == ("paused", "pending", None)


async def test_restart_from_an_earlier_step_brings_back_the_context_before_it(engine: Engine, world: World) -> None:
    steps = [Note("one", {"a": 1}), append(1), append(2), Flaky("four", 1)]
    await engine.create_workflow("w", {"start": 0}, steps)
    with pytest.raises(StepError):
        await engine.run("w")
    await engine.update_context("w", {"edited": True, "a": 5})
    workflow = await engine.reset("w", from_step=2, context={"given": 1})
    assert workflow.context == {"start": 0, "a": 1, "given": 1}
    assert [s.state for s in workflow.steps] == ["completed", "pending", "pending", "pending"]
    done = await engine.run("w")
    assert done.context == {"start": 0, "a": 1, "given": 1, "items": [1, 2], "tries": 1}
    assert [s.attempt for s in done.steps] == [1, 2, 2, 2]
    assert world.calls == ["one", "four", "four"]


async def test_an_edit_before_a_step_begins_survives_its_reset(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Note("one"), Flaky("two", 1)])
    await engine.update_context("w", {"early": 1})
    with pytest.raises(StepError):
        await engine.run("w")
    await engine.update_context("w", {"late": 1}, unset=["early"])
    assert (await engine.reset("w", from_step=1)).context == {"early": 1}
    assert world.calls == ["one", "two"]


async def test_the_key_stays_for_all_attempts_until_a_reset_from_a_step(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Flaky("one", 2), Note("two")])
    for _ in range(2):
        with pytest.raises(StepError):
            await engine.run("w")
        await engine.reset("w")
    await engine.run("w")
    await engine.restart("w", from_step=1)
    first, second, third, other, again, other_again = world.keys
    assert first == second == third != again
    assert len({first, other, again, other_again}) == 4


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


async def test_the_budget_of_retries_is_new_after_a_reset(engine: Engine, world: World) -> None:
    flaky = Flaky("one", 5).using(retry=Retry(attempts=2, wait=0))
    await engine.create_workflow("w", {}, [flaky])
    with pytest.raises(StepError):
        await engine.run("w")
    with pytest.raises(StepError):
        await engine.restart("w")
    assert len(world.calls) == 4
    assert (await engine.get("w")).steps[0].attempt == 4


async def test_pause_and_stop_take_effect_at_once_between_two_attempts(engine: Engine, world: World) -> None:
    for name, verb, state in (("p", engine.pause, "paused"), ("s", engine.stop, "stopped")):
        flaky = Flaky(name, 9).using(retry=Retry(attempts=9, wait=3000))
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


async def test_names_are_exact(engine: Engine) -> None:
    names = ["a", "a ", "A", "á", "a\u0301", "\N{GRINNING FACE}", "ß", "ss", "Z", "b"]
    for name in names:
        await engine.create_workflow(name, {"name": name}, [Note("one")])
    with pytest.raises(WorkflowExists, match="'a '"):
        await engine.create_workflow("a ", {}, [Note("one")])
    for name in names:
        assert (await engine.get(name)).context == {"name": name}
    assert [summary.name for summary in await engine.list()] == sorted(names)
    with pytest.raises(WorkflowNotFound):
        await engine.get("a  ")


async def test_every_character_round_trips(engine: Engine) -> None:
    text = "\0 NUL 'quoted' \"double\" back\\slash %s :x \n\r\t \x7f é \N{GRINNING FACE} \u2028 end "
    context = {"text": text, text: [text, {text: None}], "n": [2**64 - 1, -(2**63), 0.1, 1e300, True, -0.0]}
    await engine.create_workflow("w", context, [Note("one", {"copy": text})])
    workflow = await engine.run("w")
    assert workflow.context == {**context, "copy": text}
    assert list(workflow.context) == [*context, "copy"]
    assert workflow.steps[0].args == {"name": "one", "values": {"copy": text}}


async def test_a_missing_step_changes_nothing_and_suggests_the_closest(
    engine: Engine, database: Database, world: World
) -> None:
    await engine.create_workflow("w", {}, [Note("one"), Note("two")])
    sql = "UPDATE awfe_step SET impl = 'tests.conformance.steps:Nota' WHERE position = 2"
    await database.execute(sql)
    before = await engine.get("w")
    with pytest.raises(StepNotFound, match=r"did you mean 'tests\.conformance\.steps:Note'"):
        await engine.run("w")
    assert await engine.get("w") == before
    assert world.calls == []


async def test_a_saved_name_is_never_evaluated_and_imports_nothing(engine: Engine, database: Database) -> None:
    await engine.create_workflow("w", {}, [Note("one")])
    for impl in ("os:system", "antigravity:fly", "__import__('os')", "tests.conformance.steps:World"):
        await database.execute("UPDATE awfe_step SET impl = :impl", {"impl": impl})
        with pytest.raises(StepNotFound):
            await engine.run("w")


async def test_saved_arguments_that_do_not_fit_are_explained(engine: Engine, database: Database) -> None:
    await engine.create_workflow("w", {}, [Note("one")])
    await database.execute("UPDATE awfe_step SET args = '{\"nome\": 1}'")
    with pytest.raises(StepNotFound, match="don't fit Note"):
        await engine.run("w")


async def test_records_are_values(engine: Engine) -> None:
    await engine.create_workflow("w", {"a": 1}, [Note("one")])
    workflow: Workflow = await engine.run("w")
    plain = workflow.to_dict()
    assert plain["steps"][0]["state"] == "completed"
    assert plain["created_at"].endswith("Z")
    assert workflow == await engine.get("w")
    with pytest.raises(AttributeError):
        workflow.state = "error"  # type: ignore[misc,assignment]  # what is tested


class Interrupted(BaseStep, name="tests.Interrupted"):
    """Looks for a stop without awaiting."""

    async def work(self, ctx: Context) -> None:
        """Work until a stop is asked for."""
        World.now.entered["loop"].set()
        while not ctx.stop_requested:
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                ctx["asked"] = ctx.stop_requested


async def test_a_step_that_completes_within_its_grace_is_completed(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Interrupted, Note("two")])
    handle = await engine.start("w")
    await world.entered["loop"].wait()
    await engine.stop("w")
    with pytest.raises(WorkflowStopped):
        await handle
    workflow = await engine.get("w")
    assert (workflow.state, workflow.position, workflow.steps[0].state) == ("stopped", 2, "completed")
    assert workflow.context == {"asked": True}
    with pytest.raises(ErrorState):
        await engine.run("w")
    assert (await engine.restart("w")).state == "completed"
