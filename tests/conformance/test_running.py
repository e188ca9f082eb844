"""Running to the end, and what is kept of names, values and saved steps."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from awfe import (
    BaseStep,
    Context,
    Engine,
    ErrorState,
    StepNotFound,
    Workflow,
    WorkflowExists,
    WorkflowNotFound,
    WorkflowStopped,
)
from tests.conformance.steps import Note, World, append
from tests.databases import Database


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
