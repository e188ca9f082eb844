"""Going on in place after a failure, and again from an earlier step."""

import pytest

from awfe import (
    Context,
    Engine,
    Retry,
    StepError,
    StepNotFound,
    WorkflowStopped,
    step,
)
from tests.conformance.steps import Flaky, Note, Stubborn, World, append
from tests.databases import Database


@step
async def fail_after(ctx: Context, saved: str, lost: str) -> None:
    """Checkpoint one key, change another, and fail."""
    ctx[saved] = True
    await ctx.checkpoint()
    ctx[lost] = True
    ctx["start"] = 99
    message = "broken"
    raise RuntimeError(message)


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


async def test_what_came_with_a_reset_is_of_the_context_before_its_step(engine: Engine) -> None:
    """After it the step has not begun: no later step sees the value that was mended, whichever is reset next."""
    await engine.create_workflow("w", {"x": 1}, [Note("one"), Note("two", {"two": 1}), Note("three")])
    await engine.run("w")
    await engine.restart("w", 2, context={"x": 2})
    await engine.reset("w", 2)
    await engine.update_context("w", {"y": 1})
    assert (await engine.run("w")).context == {"x": 2, "two": 1, "y": 1}
    assert (await engine.plan("w", "reset", from_step=3)).dropped == ()
    assert (await engine.reset("w", 3)).context == {"x": 2, "two": 1, "y": 1}
    assert (await engine.reset("w", 2)).context == {"x": 2, "y": 1}
    await engine.update_context("w", {"z": 1})
    assert (await engine.reset("w", 1)).context == {"x": 1}


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


async def test_the_budget_of_retries_is_new_after_a_reset(engine: Engine, world: World) -> None:
    flaky = Flaky("one", 5).using(retry=Retry(attempts=2, wait=0))
    await engine.create_workflow("w", {}, [flaky])
    with pytest.raises(StepError):
        await engine.run("w")
    with pytest.raises(StepError):
        await engine.restart("w")
    assert len(world.calls) == 4
    assert (await engine.get("w")).steps[0].attempt == 4


async def test_nothing_is_taken_over_from_before_a_reset_from_its_step(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Stubborn("one"), Note("two", {"lost": 1})])
    world.gates["one"].set()
    world.failing["two"] = ValueError("no")
    with pytest.raises(StepError):
        await engine.run("w")
    await engine.reset("w", from_step=1)
    world.gates["one"].clear()
    world.entered["one"].clear()
    handle = await engine.start("w")
    await world.entered["one"].wait()
    await engine.stop("w")
    world.gates["one"].set()
    with pytest.raises(WorkflowStopped):
        await handle
    workflow = await engine.get("w")
    assert (workflow.position, workflow.steps[1].state, workflow.steps[1].attempt) == (2, "pending", 1)
    assert (await engine.plan("w", "reset", keep_context=True)).context == {}
    assert (await engine.reset("w", keep_context=True)).context == {}


async def test_a_restart_that_would_miss_a_step_resets_nothing(engine: Engine, database: Database) -> None:
    await engine.create_workflow("w", {"a": 1}, [Flaky("one", 1), Note("two")])
    with pytest.raises(StepError):
        await engine.run("w")
    await database.execute("UPDATE awfe_step SET impl = 'tests.conformance.steps:Nota' WHERE position = 2")
    before = await engine.get("w")
    for from_step in (None, 1):
        with pytest.raises(StepNotFound, match=r"did you mean 'tests\.conformance\.steps:Note'"):
            await engine.restart("w", from_step, context={"a": 2})
        assert await engine.get("w") == before
