"""Moves that are submitted at the same time, without the runs whose moves they are."""

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy.util import await_only

from awfe import Engine, Handle
from awfe.domain import moves
from awfe.domain.delta import Delta
from awfe.domain.moves import Move
from awfe.persistence.writes import Writes
from awfe.testing.calls import Call
from awfe.testing.crashes import crash
from awfe.testing.invariants import violations
from tests.conformance.steps import World
from tests.conformance.test_batches import ALONE, GOOD, MANY, NAMES, ODD, at_commit, held, kinds, open_watched
from tests.databases import Database


def saving(engine: Engine, name: str, value: object) -> Move:
    """Return the move by which a step saves something."""
    run = engine._steering.control.get(name)
    assert run is not None
    return moves.checkpointed(run.head, Delta.of({"saved": value}, ()), datetime.now(UTC))


async def apply_all(writes: Writes, made: dict[str, Move]) -> dict[str, "asyncio.Task[moves.Head]"]:
    """Submit moves at the same time."""
    tasks = {name: asyncio.create_task(writes.apply(move, 10)) for name, move in made.items()}
    await asyncio.wait(tasks.values())
    return tasks


async def finish(engine: Engine, world: World, handles: dict[str, Handle], made: dict[str, Move]) -> None:
    """Let the runs go on from what was saved for them."""
    for name, move in made.items():
        run = engine._steering.control.get(name)
        assert run is not None
        run.head = move.after
    world.gates["all"].set()
    for handle in handles.values():
        assert (await handle).state == "completed"


async def test_who_is_cancelled_does_not_cancel_the_batch(database: Database, world: World) -> None:
    engine, calls = await open_watched(database)
    async with engine:
        handles = await held(engine, world)
        made = {name: saving(engine, name, name) for name in NAMES}
        submitted: dict[str, asyncio.Task[moves.Head]] = {}
        calls.clear()
        at_commit(calls, lambda _call: submitted[ODD].cancel())
        for name, move in made.items():
            submitted[name] = asyncio.create_task(engine._writes.apply(move, 10))
        await asyncio.wait(submitted.values())
        assert submitted[ODD].cancelled()
        assert [submitted[name].result() for name in GOOD] == [made[name].after for name in GOOD]
        assert kinds(calls).count("commit") == 1
        assert await engine._writes.apply(made[ODD], 10) == made[ODD].after, "it had been committed with the others"
        await finish(engine, world, handles, made)
    assert await violations(database.url) == []


async def test_who_is_cancelled_before_the_batch_begins_writes_nothing(database: Database, world: World) -> None:
    async with Engine(database.url, **ALONE) as engine:
        handles = await held(engine, world)
        made = {name: saving(engine, name, name) for name in NAMES}
        submitted = {name: asyncio.create_task(engine._writes.apply(move, 10)) for name, move in made.items()}
        await asyncio.sleep(0)
        submitted[ODD].cancel()
        await asyncio.wait(submitted.values())
        assert [name for name, task in submitted.items() if task.cancelled()] == [ODD]
        revisions = {row[0]: row[1] for row in await database.execute("SELECT name, rev FROM awfe_workflow")}
        assert revisions.pop(ODD) == 1
        assert set(revisions.values()) == {2}
        made.pop(ODD)
        await finish(engine, world, handles, made)
    assert await violations(database.url) == []


async def test_what_is_submitted_again_is_stored_once(database: Database, world: World) -> None:
    """As by those who were cancelled, and don't know whether it was committed."""
    engine, calls = await open_watched(database)
    async with engine:
        handles = await held(engine, world)
        made = {name: saving(engine, name, name) for name in NAMES}
        for _ in range(2):
            calls.clear()
            tasks = await apply_all(engine._writes, made)
            assert {name: task.result() for name, task in tasks.items()} == {name: made[name].after for name in NAMES}
            assert kinds(calls).count("commit") == 1
        assert await violations(database.url) == []
        await finish(engine, world, handles, made)
    assert await violations(database.url) == []


async def test_one_that_is_large_goes_by_itself(database: Database, world: World) -> None:
    engine, calls = await open_watched(database)
    async with engine:
        handles = await held(engine, world)
        made = {name: saving(engine, name, "x" * 300_000 if name == ODD else name) for name in NAMES}
        calls.clear()
        tasks = await apply_all(engine._writes, made)
        assert {name: task.result() for name, task in tasks.items()} == {name: made[name].after for name in NAMES}
        assert kinds(calls).count("commit") == 2
        await finish(engine, world, handles, made)
    assert await violations(database.url) == []


async def test_every_value_is_the_same_in_a_batch_as_alone(database: Database, world: World) -> None:
    values = [
        None,
        "NUL \x00, quote ', \\ and \U0001f600",
        1.7976931348623157e308,
        2**63 - 1,
        ["é", {"": True}],
        ":x %s",
    ]
    async with Engine(database.url, **ALONE) as engine:
        handles = await held(engine, world, NAMES[: len(values)])
        made = {name: saving(engine, name, value) for name, value in zip(NAMES, values, strict=False)}
        await apply_all(engine._writes, made)
        await finish(engine, world, handles, made)
        for name, value in zip(NAMES, values, strict=False):
            assert (await engine.get(name)).context["saved"] == value
            lines = await engine.history(name)
            assert lines[2].at == made[name].at
    assert await violations(database.url) == []


@pytest.mark.parametrize("when", ["before", "after"])
async def test_all_or_none_are_stored_when_the_process_ends_at_the_commit(
    database: Database, world: World, when: str
) -> None:
    engine, calls = await open_watched(database)
    await held(engine, world)
    made = {name: saving(engine, name, name) for name in NAMES}
    reached, gate = asyncio.Event(), asyncio.Event()

    def wait(call: Call) -> None:
        if call.kind == "commit":
            reached.set()
            await_only(gate.wait())

    setattr(calls, when, wait)
    submitted = asyncio.create_task(apply_all(engine._writes, made))
    await reached.wait()
    crashing = asyncio.create_task(crash(engine))
    await asyncio.sleep(0)
    gate.set()
    await crashing
    await submitted
    saved = await database.execute("SELECT workflow_id FROM awfe_event WHERE cause = 'checkpoint'")
    assert len(saved) == (MANY if when == "after" else 0)
    await database.execute("UPDATE awfe_lease SET expires = 0")
    async with Engine(database.url, **(ALONE | {"locks": "lease"})) as other:
        assert sorted((await other.recover()).refused) == sorted(NAMES)
    assert await violations(database.url) == []
