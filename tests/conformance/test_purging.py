"""Purge: what is old goes, whole families, leaves tombstones, and touches nothing that somebody runs."""

import asyncio
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from awfe import Engine, Event, InvalidInput, StepError, WorkflowState
from awfe.steps import SubWorkflow
from tests.conformance.conftest import OpenEngine
from tests.conformance.helpers import Start, create, killed, lines, waits
from tests.conformance.steps import Hold, Note, Stubborn, World
from tests.conformance.waiting_steps import Await
from tests.databases import Database

TABLES = ("workflow", "step", "attempt", "event", "signal")


async def names(engine: Engine) -> list[str]:
    """Return the names of all workflows."""
    return [summary.name for summary in await engine.list(limit=1_000)]


async def age(database: Database, name: str, by: timedelta) -> None:
    """Let a workflow and its lines be older."""
    (number,) = (await database.execute("SELECT id FROM awfe_workflow WHERE name = :name", {"name": name}))[0]
    then = {"id": number, "then": (datetime.now(UTC) - by).replace(tzinfo=None)}
    if database.dialect == "sqlite":
        then["then"] = then["then"].isoformat(" ", "microseconds")
    for what in (
        "awfe_workflow SET ended_at = :then WHERE ended_at IS NOT NULL AND id = :id",
        "awfe_workflow SET created_at = :then WHERE id = :id",
        "awfe_event SET at = :then WHERE workflow_id = :id",
        "awfe_attempt SET ended_at = :then WHERE workflow_id = :id",
    ):
        await database.execute(f"UPDATE {what}", then)


async def completed(engine: Engine, *made: str) -> None:
    """Make workflows that are completed."""
    for name in made:
        await engine.create_workflow(name, {}, [Note(name)])
        await engine.run(name)


async def test_what_is_old_goes_and_leaves_tombstones(engine: Engine, database: Database) -> None:
    told: list[Event] = []
    engine.observer(told.append)
    await completed(engine, "old", "older", "young")
    await age(database, "old", timedelta(days=8))
    await age(database, "older", timedelta(days=800))
    assert (await engine.purge(timedelta(days=1_000))).deleted == ()
    purged = await engine.purge(timedelta(days=7), actor="ann", reason="space")
    assert (purged.deleted, purged.refused) == (("old", "older"), ())
    assert await names(engine) == ["young"]
    stones = [(stone.name, stone.actor, stone.reason) for stone in await engine.deleted()]
    assert stones == [("old", "ann", "space"), ("older", "ann", "space")]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        while [(event.workflow, event.before, event.after) for event in told if event.cause == "delete"] != [
            ("old", "completed", None),
            ("older", "completed", None),
        ]:
            await asyncio.sleep(0.01)
    assert (await engine.purge(0)).deleted == ("young",)
    for table in TABLES:
        assert await database.execute(f"SELECT COUNT(*) FROM awfe_{table}") == [(0,)], table
    await completed(engine, "old")


async def test_only_in_the_given_states(engine: Engine, world: World, arrange: Any) -> None:
    for state in ("pending", "paused", "stopped", "error", "completed", "rolled_back", "waiting"):
        world.waiting.clear()
        await arrange(state, state)
        for event in world.entered.values():
            event.clear()
    assert (await engine.purge(0)).deleted == ("completed", "rolled_back")
    assert (await engine.purge(0, "error")).deleted == ("error",)
    assert (await engine.purge(0, [WorkflowState.STOPPED, "paused"])).deleted == ("paused", "stopped")
    assert await names(engine) == ["pending", "waiting"]


async def test_what_has_no_end_is_as_old_as_its_last_line(engine: Engine, world: World, database: Database) -> None:
    week = timedelta(days=7)
    world.failing["bad"] = ValueError("no")
    for name in ("edited", "run", "old", "addressed"):
        await engine.create_workflow(name, {}, [Note("bad")])
        with pytest.raises(StepError):
            await engine.run(name)
        await age(database, name, timedelta(days=8))
    await engine.update_context("edited", {"a": 1})
    await engine.signal("addressed", "go")
    with pytest.raises(StepError):
        await engine.restart("run")
    assert (await engine.purge(week, ["error"])).deleted == ("old",)
    assert await names(engine) == ["addressed", "edited", "run"]


@pytest.mark.parametrize(
    ("older_than", "states"),
    [
        (-1, ["completed"]),
        (timedelta(days=-1), ["completed"]),
        (math.nan, ["completed"]),
        (math.inf, ["completed"]),
        (True, ["completed"]),
        ("7", ["completed"]),
        (None, ["completed"]),
        (timedelta.max, ["completed"]),
        *((0, states) for states in ("running", "fine", [], None, 7, ["completed", "running"], ["waiting"])),
        (0, ["rolling_back"]),
    ],
)
async def test_nonsense_is_refused_whole(engine: Engine, older_than: Any, states: Any) -> None:
    await completed(engine, "w")
    with pytest.raises(InvalidInput, match=r"states=|older_than="):
        await engine.purge(older_than, states)
    with pytest.raises(InvalidInput, match="actor="):
        await engine.purge(0, actor=1)  # type: ignore[arg-type]  # what is refused
    assert await names(engine) == ["w"]


async def test_more_than_a_batch(engine: Engine, database: Database) -> None:
    made = [f"w{number:03}" for number in range(230)]
    for name in made:
        await engine.create_workflow(name, {}, [Note("one")])
    await engine.run("w007")
    assert (await engine.purge(0, ["pending"])).deleted == tuple(name for name in made if name != "w007")
    assert await names(engine) == ["w007"]
    assert len(await engine.deleted()) == 229
    assert await database.execute("SELECT COUNT(*) FROM awfe_step") == [(1,)]


async def test_what_steps_have_begun_goes_with_its_workflow(engine: Engine, database: Database) -> None:
    inner = SubWorkflow("grandchild", [Note("deep")])
    await engine.create_workflow("p", {}, [SubWorkflow("child", [inner]), Await("last")])
    await engine.start("p")
    async with asyncio.timeout(30):
        while (await engine.get("p")).position != 2:
            await asyncio.sleep(0.01)
    assert (await engine.purge(0)).deleted == (), "what is completed belongs to what is not"
    await engine.signal("p", "go")
    await engine.wait("p")
    assert (await engine.purge(0)).deleted == ("p", "child", "grandchild")
    assert [stone.name for stone in await engine.deleted()] == ["p", "child", "grandchild"]
    for table in TABLES:
        assert await database.execute(f"SELECT COUNT(*) FROM awfe_{table}") == [(0,)], table


async def test_a_family_of_which_one_still_waits_is_left_whole(engine: Engine) -> None:
    await engine.create_workflow("p", {}, [SubWorkflow("child", [Await("long")])])
    await engine.start("p")
    await waits(engine, "p")
    await waits(engine, "child")
    await engine.pause("p")
    await engine.skip("p")
    assert (await engine.get("p")).state == "completed"
    await completed(engine, "other")
    purged = await engine.purge(0)
    assert (purged.deleted, purged.refused) == (("other",), ("p",))
    assert await names(engine) == ["child", "p"]
    await engine.stop("child")
    assert (await engine.purge(0)).deleted == ("p", "child")


async def test_what_steps_of_a_deleted_workflow_have_begun_is_purged_by_itself(engine: Engine) -> None:
    await engine.create_workflow("p", {}, [SubWorkflow("child", [Note("one")])])
    await engine.run("p")
    await engine.delete("p")
    assert (await engine.purge(0)).deleted == ("child",)


async def test_beside_what_runs(engine: Engine, open_engine: OpenEngine, world: World) -> None:
    other = await open_engine()
    await engine.create_workflow("runs", {}, [Note("one"), Hold("two"), Note("three")])
    handle = await engine.start("runs")
    await world.entered["two"].wait()
    await completed(engine, "done")
    for by in (engine, other):
        assert "runs" not in (await by.purge(0, ["pending", "paused", "stopped", "error", "completed"])).refused
    world.gates["two"].set()
    assert (await handle).state == "completed"
    assert await names(engine) == ["runs"]


async def test_a_body_that_lives_keeps_its_workflow(open_engine: OpenEngine, world: World) -> None:
    engine, other = await open_engine(stop_grace=0.05), await open_engine()
    await engine.create_workflow("w", {}, [Stubborn("one")])
    await engine.start("w")
    await world.entered["one"].wait()
    await engine.stop("w")
    async with asyncio.timeout(30):
        while (await engine.get("w")).state != "stopped":
            await asyncio.sleep(0.01)
    purged = await other.purge(0, ["stopped"])
    assert (purged.deleted, purged.refused) == ((), ("w",))
    world.gates["one"].set()
    async with asyncio.timeout(30):
        while (await other.purge(0, ["stopped"])).deleted != ("w",):
            await asyncio.sleep(0.01)


async def test_two_at_once_delete_each_once(open_engine: OpenEngine) -> None:
    first, second = await open_engine(), await open_engine()
    made = [f"w{number:03}" for number in range(150)]
    for name in made:
        await first.create_workflow(name, {}, [Note("one")])
    a, b = await asyncio.gather(
        first.purge(0, ["pending"], actor="a"), second.purge(0, ["pending", "completed"], actor="b")
    )
    assert sorted(a.deleted + b.deleted) == made
    assert a.refused == b.refused == ()
    assert sorted(stone.name for stone in await first.deleted()) == made


async def test_beside_those_that_begin(engine: Engine, open_engine: OpenEngine) -> None:
    other = await open_engine(max_running=4)
    made = [f"w{number:02}" for number in range(40)]
    for name in made:
        await engine.create_workflow(name, {}, [Note("one"), Note("two")])

    async def run(name: str) -> str:
        try:
            return str((await other.run(name)).state)
        except Exception as error:  # noqa: BLE001 - what it was is looked at
            return type(error).__name__

    purging = asyncio.create_task(engine.purge(0, ["pending"]))
    ends = dict(zip(made, await asyncio.gather(*map(run, made)), strict=True))
    deleted = (await purging).deleted
    assert {name for name, end in ends.items() if end == "WorkflowNotFound"} <= set(deleted)
    assert {name for name, end in ends.items() if end == "completed"} == set(made) - set(deleted)
    assert await names(engine) == sorted(set(made) - set(deleted))


async def test_what_cannot_be_understood_is_passed_over(engine: Engine, database: Database) -> None:
    await completed(engine, "bad", "good")
    await database.execute("UPDATE awfe_workflow SET attempt = -1 WHERE name = 'bad'")
    assert (await engine.purge(0)).deleted == ("good",)
    await engine.delete("bad")


async def test_what_a_dead_process_has_left_is_no_concern_of_it(engine: Engine, start: Start, tmp_path: Path) -> None:
    await create(engine, tmp_path / "marks")
    process = await start("run", "w")
    await lines(tmp_path / "marks", 2)
    await killed(process)
    assert await engine.purge(0, ["error", "paused", "stopped"]) == await engine.purge(0)
    assert await names(engine) == ["w"]
