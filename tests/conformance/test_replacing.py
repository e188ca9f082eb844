"""The steps that have not run yet are replaced: whole or not at all, and not behind a runner's back."""

import asyncio
import json
from typing import Any

import pytest

from awfe import BaseStep, Engine, Event, InvalidInput, StepError, WorkflowLocked, WorkflowNotFound
from awfe.domain.moves import Head
from awfe.testing import assert_workflow, reached, violations
from tests.conformance.conftest import OpenEngine
from tests.conformance.helpers import hold
from tests.conformance.steps import Hold, Note, World
from tests.databases import Database


async def fail_at_two(engine: Engine, world: World) -> list[BaseStep]:
    """Run a workflow of three steps whose second fails; returns its steps."""
    steps: list[BaseStep] = [Note("one"), Note("two"), Note("three")]
    world.failing["two"] = ValueError("no")
    await engine.create_workflow("w", {"n": 1}, steps)
    with pytest.raises(StepError):
        await engine.run("w")
    return steps


def names(workflow: Any) -> list[str]:
    """Return the first argument of each step."""
    return [step.args["name"] for step in workflow.steps]


async def test_the_steps_to_come_are_others_now(engine: Engine, world: World, database: Database) -> None:
    one, two, _three = await fail_at_two(engine, world)
    told: list[Event] = []
    engine.observer(told.append)
    before = await engine.get("w")
    workflow = await engine.replace_steps("w", [one, two, Note("3a"), Note("3b")], actor="ann", reason="new plan")
    assert names(workflow) == ["one", "two", "3a", "3b"]
    assert (workflow.state, workflow.position, workflow.context) == ("error", 2, before.context)
    assert workflow.steps[:2] == before.steps[:2]
    line = (await engine.history("w"))[-1]
    assert (line.cause, line.actor, line.reason, line.step) == ("replace_steps", "ann", "new plan", 3)
    assert (line.before, line.after) == ("error", "error")
    world.failing.clear()
    assert_workflow(await engine.restart("w"), steps=["completed"] * 4)
    assert world.calls == ["one", "two", "two", "3a", "3b"]
    assert told[0] == line
    assert await violations(database.url) == []


async def test_what_went_is_kept_in_the_line_of_the_history(engine: Engine, world: World, database: Database) -> None:
    one, two, _ = await fail_at_two(engine, world)
    await engine.replace_steps("w", [one, two])
    line = (await engine.history("w"))[-1]
    assert line.reason == "from step 3 on: none"
    ((output,),) = await database.execute("SELECT output FROM awfe_event WHERE cause = 'replace_steps'")
    (gone,) = json.loads(output)
    impl = f"{Note.__module__}:Note"
    assert gone == {
        "position": 3, "name": "Note", "impl": impl, "args": {"name": "three", "values": {}}, "policies": {},
    }  # fmt: skip


async def test_what_has_begun_is_not_replaced_before_it_is_reset(
    engine: Engine, world: World, database: Database
) -> None:
    one, two, three = await fail_at_two(engine, world)
    key = world.keys[-1]
    for past in ([one, Note("2nd"), three], [Note("1st"), two, three]):
        with pytest.raises(InvalidInput, match=r"step [12] of 'w' has run, as Note with .* reset from it first"):
            await engine.replace_steps("w", past)
    with pytest.raises(InvalidInput, match="'w' is at step 2, and the list has 1: give all steps"):
        await engine.replace_steps("w", [one])
    await engine.reset("w")
    assert names(await engine.replace_steps("w", [one, Note("2nd")])) == ["one", "2nd"]
    workflow = await engine.run("w")
    assert_workflow(workflow, steps=["completed"] * 2)
    # Another step, so another key; its attempts count on, since what was tried in its place is kept.
    assert (workflow.steps[1].attempt, world.keys[-1] == key) == (2, False)
    assert await violations(database.url) == []


async def test_all_can_be_replaced_before_the_first_run(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Note("one"), Note("two")])
    await engine.replace_steps("w", [Note("other")])
    assert_workflow(await engine.run("w"), steps=["completed"])
    assert world.calls == ["other"]


async def test_where_nothing_differs_nothing_is_written(engine: Engine, world: World) -> None:
    steps = await fail_at_two(engine, world)
    before = await engine.get("w"), await engine.history("w")
    assert await engine.replace_steps("w", steps) == before[0]
    assert await engine.history("w") == before[1]


async def test_a_workflow_that_runs_is_locked(engine: Engine, world: World) -> None:
    run = await hold(engine, world)
    with pytest.raises(
        WorkflowLocked,
        match=r"'w' is running in .*: replace_steps is allowed in .*; wait for it, or pause or stop it first",
    ):
        await engine.replace_steps("w", [Note("one"), Hold("w"), Note("other")])
    world.gates["w"].set()
    await run
    assert world.calls == ["one", "w", "three"]
    with pytest.raises(WorkflowNotFound):
        await engine.replace_steps("none", [Note("one")])


async def test_a_run_that_stood_in_line_takes_the_new_steps(open_engine: OpenEngine, world: World) -> None:
    engine = await open_engine(max_running=1)
    first = await hold(engine, world, "first")
    await engine.create_workflow("w", {}, [Note("old"), Note("old")])
    handle = await engine.start("w")
    await engine.replace_steps("w", [Note("new"), Note("newer"), Note("newest")])
    world.gates["first"].set()
    await first
    assert_workflow(await handle, steps=["completed"] * 3)
    assert world.calls == ["one", "first", "three", "new", "newer", "newest"]


async def test_a_rollback_that_stood_in_line_takes_the_new_steps(open_engine: OpenEngine, world: World) -> None:
    engine = await open_engine(max_running=1)
    one, two, _ = await fail_at_two(engine, world)
    first = await hold(engine, world, "first")
    back = asyncio.create_task(engine.rollback("w"))
    while (run := engine._steering.control.get("w")) is None or not run.in_line:
        await asyncio.sleep(0)
    await engine.replace_steps("w", [one, two])
    world.gates["first"].set()
    await first
    assert (await back).state == "rolled_back"


async def test_who_reads_the_steps_while_they_are_replaced_runs_the_new_ones(
    open_engine: OpenEngine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, other = await open_engine(), await open_engine()
    await engine.create_workflow("w", {}, [Note("old")])
    settle = engine._steering._recovery.settle

    async def late(head: Head) -> Head:
        await other.replace_steps("w", [Note("new"), Note("newer")])
        return await settle(head)

    monkeypatch.setattr(engine._steering._recovery, "settle", late)
    await engine.run("w")
    assert world.calls == ["new", "newer"]


async def test_two_replacements_are_made_one_after_the_other(open_engine: OpenEngine, database: Database) -> None:
    engine, other = await open_engine(), await open_engine()
    await engine.create_workflow("w", {}, [Note("one"), Note("two"), Note("three")])
    lists = [[Note(f"{who}{number}") for number in range(1 + 3 * at)] for at, who in enumerate("abc")]
    await asyncio.gather(*(each.replace_steps("w", steps) for each in (engine, other) for steps in lists))
    assert names(await reached(engine, "w", "pending")) in [[step.name for step in steps] for steps in lists]
    assert_workflow(await engine.run("w"))
    assert await violations(database.url) == []
