"""What others see of a rollback: by SQL, and from another engine."""

import asyncio

import pytest

from awfe import Engine, StepError
from tests.conformance.conftest import OpenEngine
from tests.conformance.helpers import waits
from tests.conformance.steps import Hold, Note, World
from tests.conformance.waiting_steps import Await, Undoable
from tests.databases import Database

NO = ValueError("no")


async def shown(database: Database) -> list[str]:
    """Return the states of the steps that those see who look by SQL."""
    rows = await database.execute("SELECT state FROM awfe_step_state WHERE workflow = 'w' ORDER BY position")
    return [row[0] for row in rows]


async def test_the_states_of_steps_are_shown_to_those_who_look_by_sql(
    engine: Engine, world: World, database: Database
) -> None:
    await engine.create_workflow("w", {}, [Undoable("one"), Note("two"), Undoable("three"), Undoable("four")])
    world.failing = {"three": NO, "four": NO}
    with pytest.raises(StepError):
        await engine.run("w")
    await engine.skip("w")
    with pytest.raises(StepError):
        await engine.run("w")
    workflow = await engine.rollback("w")
    assert await shown(database) == [step.state for step in workflow.steps]


async def test_an_undo_that_was_skipped_is_shown_as_done_to_those_who_look_by_sql(
    engine: Engine, world: World, database: Database
) -> None:
    await engine.create_workflow("w", {}, [Undoable("one"), Undoable("two")])
    await engine.run("w")
    world.failing["undo two"] = NO
    with pytest.raises(StepError):
        await engine.rollback("w")
    workflow = await engine.rollback("w", skip_undo=True)
    assert await shown(database) == [step.state for step in workflow.steps] == ["undone", "completed"]


async def test_who_follows_a_rollback_of_another_engine_hears_of_the_undo(
    engine: Engine, world: World, open_engine: OpenEngine
) -> None:
    follower = await open_engine(max_running=1)
    await engine.create_workflow("w", {}, [Undoable("one"), Await("two")])
    await engine.create_workflow("first", {}, [Hold("first")])
    followed = await follower.start("w")
    await waits(follower)
    first = await follower.start("first")
    await world.entered["first"].wait()
    await engine.signal("w", "go")
    async with asyncio.timeout(30):
        while follower._steering.control.get("w") is None:
            await asyncio.sleep(0.01)
    await engine.pause("w")
    world.gates["undo one"].clear()
    world.failing["undo one"] = NO
    task = asyncio.create_task(engine.rollback("w"))
    await world.entered["undo one"].wait()
    world.gates["first"].set()
    await first
    world.gates["undo one"].set()
    for each in (task, followed):
        with pytest.raises(StepError, match=r"'w' failed to undo step 1 \(Undoable\): ValueError: no"):
            await each
