"""Workflows that are read at the same time are read together, and each who asked gets what he gets alone."""

import asyncio
from typing import Any

import pytest

from awfe import Again, Context, Engine, WorkflowCorrupt, WorkflowNotFound, step
from awfe.testing.calls import Calls
from tests.conformance.conftest import QUICK
from tests.conformance.steps import Note
from tests.databases import Database

ALONE: dict[str, Any] = QUICK | {"poll_interval": 600, "lock_heartbeat": 14.0, "locks": "lease"}


@step
async def looks(ctx: Context) -> Again:
    """Print something, and look again much later."""
    ctx.output("not yet\n")
    return Again(3_600)


async def test_the_answers_are_those_that_each_gets_alone(engine: Engine, database: Database) -> None:
    for n in range(3):
        await engine.create_workflow(f"w{n}", {"n": n}, [Note("one", {"one": n}), Note("two")])
    await engine.create_workflow("waits", {}, [Note("one"), looks()])
    await engine.create_workflow("broken", {}, [Note("one")])
    await engine.create_workflow("hole", {}, [Note("one"), Note("two")])
    await engine.run("w0")
    await engine.start("waits")
    while (await engine.get("waits")).state != "waiting":
        await asyncio.sleep(0.01)
    await database.execute("UPDATE awfe_workflow SET attempt = -1 WHERE name = 'broken'")
    await database.execute(
        "DELETE FROM awfe_step WHERE position = 2 AND workflow_id = (SELECT id FROM awfe_workflow WHERE name = 'hole')"
    )
    names = ["w0", "w1", "waits", "broken", "w2", "nobody", "hole", "w0"]
    alone = [await _got(engine, name) for name in names]
    together = await asyncio.gather(*(_got(engine, name) for name in names))
    assert together == alone
    assert [type(each) for each in (alone[3], alone[5], alone[6])] == [tuple] * 3
    assert alone[3][0] is WorkflowCorrupt
    assert alone[5][0] is WorkflowNotFound
    assert alone[2].steps[1].output == "not yet\n"


async def _got(engine: Engine, name: str) -> Any:
    try:
        return await engine.get(name)
    except (WorkflowCorrupt, WorkflowNotFound) as error:
        return type(error), str(error)


async def test_what_is_asked_at_once_is_a_few_transactions(database: Database) -> None:
    engine = Engine(database.url, **ALONE)
    calls = Calls(engine)
    async with engine:
        names = [f"w{n}" for n in range(60)]
        for name in names:
            await engine.create_workflow(name, {}, [Note("one")])
        calls.clear()
        read = await asyncio.gather(*map(engine.get, names))
        assert [each.name for each in read] == names
        # At most 32 are read at once, by five statements.
        assert sum(call.kind == "execute" for call in calls.log) <= 10, calls.log


async def test_who_is_cancelled_takes_nobody_with_him(engine: Engine) -> None:
    for name in ("a", "b", "c"):
        await engine.create_workflow(name, {}, [Note("one")])
    tasks = [asyncio.create_task(engine.get(name)) for name in ("a", "b", "c")]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.wait(tasks)
    assert [task.cancelled() for task in tasks] == [False, True, False]
    assert [(await tasks[n]).name for n in (0, 2)] == ["a", "c"]
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]
