"""A row that can't be: its workflow is refused by each verb, `delete` removes it, and all others go on."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from awfe import AwfeError, Engine, StepError, WorkflowCorrupt, WorkflowNotFound, WorkflowPaused
from tests.conformance.helpers import ORPHAN
from tests.conformance.steps import Hold, Note, World
from tests.conformance.waiting_steps import Await
from tests.databases import Database, Rows, execute
from tests.durability import wrecks
from tests.durability.wrecks import ASKED, QUICK, RESUMABLE, Wreck, attacked, forge, wrecked

Verb = Callable[[Engine, str], Awaitable[object]]


async def _started(engine: Engine, name: str) -> object:
    return await (await engine.start(name))


# Those that only look come first; all are tried, and `delete` afterwards.
VERBS: dict[str, Verb] = {
    "get": lambda engine, name: engine.get(name),
    "history": lambda engine, name: engine.history(name),
    "wait": lambda engine, name: engine.wait(name, 30),
    "pause": lambda engine, name: engine.pause(name),
    "stop": lambda engine, name: engine.stop(name),
    "reset": lambda engine, name: engine.reset(name),
    "update_context": lambda engine, name: engine.update_context(name, {"seen": 1}),
    "run": lambda engine, name: engine.run(name),
    "start": _started,
    "reset_from": lambda engine, name: engine.reset(name, 1),
    "skip": lambda engine, name: engine.skip(name),
    "signal": lambda engine, name: engine.signal(name, "go"),
    "rollback": lambda engine, name: engine.rollback(name),
}


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[Engine]:
    """Yield an engine on a database that takes any row."""
    async with attacked(database) as engine:
        yield engine


@pytest.fixture
def world(engine: Engine) -> World:  # noqa: ARG001 - it begins with the engine
    """Return what the steps of this test share."""
    return World.now


async def complaint(engine: Engine, verb: str, name: str, wreck: Wreck) -> str | None:
    """Return what is wrong with what a verb says to a wreck, or nothing."""
    try:
        await VERBS[verb](engine, name)
    except WorkflowCorrupt as error:
        text = str(error)
        clear = error.workflow == name and repr(name) in text and wreck.says in text and "mend that by SQL" in text
        return None if clear and len(text) < 600 and text.isprintable() else f"unclear: {text}"
    except AwfeError as error:
        return f"{type(error).__name__}: {error}" if verb in wreck.breaks else None
    except Exception as error:  # noqa: BLE001 - what must not happen
        return f"leaks {type(error).__name__}: {error}"
    return "says nothing" if verb in wreck.breaks else None


async def complaints(engine: Engine, world: World, made: dict[str, Wreck]) -> list[str]:
    """Try every verb on every wreck; returns what is wrong with their answers."""
    found: list[str] = []
    for name, wreck in made.items():
        world.calls.clear()
        said = {verb: await complaint(engine, verb, name, wreck) for verb in VERBS}
        found += [f"{name} {verb} of {wreck}: {problem}" for verb, problem in said.items() if problem]
        if "run" in wreck.breaks and not wreck.runs and world.calls:
            found.append(f"{name} {wreck}: ran {world.calls}")
    return found


@pytest.mark.parametrize("kind", ["HEADS", "LISTS", "LOGS", "VALUES"])
async def test_a_row_that_can_not_be_is_refused_by_each_verb(
    engine: Engine, database: Database, world: World, kind: str
) -> None:
    made = await wrecked(database, getattr(wrecks, kind))
    assert await complaints(engine, world, made) == []


@pytest.mark.parametrize("kind", ["HEADS", "LISTS", "LOGS", "VALUES"])
async def test_a_refused_change_has_changed_nothing(engine: Engine, database: Database, kind: str) -> None:
    made = await wrecked(database, getattr(wrecks, kind))
    for verb in ("reset", "reset_from", "skip", "update_context"):
        for name in made:
            before = await _rev(engine, name)
            planned = await _planned(engine, name, verb)
            try:
                await VERBS[verb](engine, name)
                done: bool | None = True
            except WorkflowCorrupt:
                assert await _rev(engine, name) == before, f"{verb} of {made[name]}"
                done = None
            except AwfeError:
                done = False
            assert planned is done, f"{verb} of {made[name]}"


async def _rev(engine: Engine, name: str) -> Rows:
    # Over a connection that is there: there are thousands of these looks.
    return await execute(engine._database.engine, "SELECT rev FROM awfe_workflow WHERE name = :name", {"name": name})


async def _planned(engine: Engine, name: str, verb: str) -> bool | None:
    """Return whether a verb is planned to be allowed, None where it can't be told."""
    given: dict[str, dict[str, Any]] = {"reset_from": {"from_step": 1}, "update_context": {"values": {"seen": 1}}}
    try:
        return (await engine.plan(name, verb.removesuffix("_from"), **given.get(verb, {}))).allowed
    except WorkflowCorrupt:
        return None


async def test_delete_removes_what_can_not_be_understood(engine: Engine, database: Database) -> None:
    made = await wrecked(database, wrecks.ALL)
    made |= await wrecked(database, [*wrecks.LISTS, *wrecks.LOGS], ORPHAN, prefix="orphan")
    for name in ("ok", *made):
        await engine.delete(name, reason="broken")
        with pytest.raises(WorkflowNotFound):
            await engine.get(name)
    assert {stone.name for stone in await engine.deleted()} == {"ok", *made}
    for table in ("awfe_workflow", "awfe_step", "awfe_attempt", "awfe_event", "awfe_signal"):
        assert await database.execute(f"SELECT COUNT(*) FROM {table}") == [(0,)], table


@pytest.mark.parametrize("payload", ["", "{", "nan"], ids=repr)
async def test_a_payload_that_can_not_be_read_is_not_taken(
    engine: Engine, database: Database, world: World, payload: str
) -> None:
    """It would make the log of its workflow one that can't be."""
    await engine.create_workflow("w", {}, [Await("one"), Note("two")])
    await engine.signal("w", "go", 1)
    await forge(database, f"UPDATE awfe_signal SET payload = '{payload}'")
    with pytest.raises(WorkflowCorrupt, match=r"awfe_signal\.payload of"):
        await engine.run("w")
    assert (await engine.get("w")).state == "waiting"
    await forge(database, "UPDATE awfe_signal SET payload = '5'")
    assert (await engine.run("w")).context["go"] == 5
    assert world.calls == ["one", "two"]


@pytest.mark.parametrize("asked", ["its engine", "another engine"])
async def test_what_runs_is_not_deleted_however_broken_it_is(
    engine: Engine, database: Database, world: World, asked: str
) -> None:
    await engine.create_workflow("w", {}, [Hold("one")])
    handle = await engine.start("w")
    await world.entered["one"].wait()
    await forge(database, "UPDATE awfe_workflow SET attempt = -1 WHERE name = 'w'")
    async with Engine(database.url, **QUICK) as other:
        with pytest.raises(WorkflowCorrupt):
            await (engine if asked == "its engine" else other).delete("w")
    await forge(database, "UPDATE awfe_workflow SET attempt = 1 WHERE name = 'w'")
    world.gates["one"].set()
    assert (await handle).state == "completed"


async def test_a_list_leaves_out_what_can_not_be_understood(
    engine: Engine, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    lost = await wrecked(database, wrecks.HEADS)
    shown = await wrecked(database, [*wrecks.LISTS, *wrecks.LOGS], prefix="more")
    names: list[str] = []
    while page := await engine.list(limit=7, after=names[-1] if names else None):
        assert len(page) == 7 or len(names) + len(page) == len(shown) + 1, "a page is full, whatever was left out"
        names += [summary.name for summary in page]
    assert names == [*sorted(shown), "ok"]
    assert await engine.list(name_prefix="bad") == []
    each = [await engine.list(state=state, limit=500) for state in ("paused", "running")]
    assert sum(map(len, each)) == len(names)
    for name in lost:
        assert len([line for line in caplog.messages if f"passed over: {name!r}" in line]) == 1, name
    # `stats` counts what the rows say, of the states that there are.
    stated = "SELECT COUNT(*) FROM awfe_workflow WHERE state IN ('paused', 'running')"
    assert [(sum((await engine.stats()).values()),)] == await database.execute(stated)


async def test_the_others_go_on(
    engine: Engine, database: Database, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Orphans, stops that nobody acts on and what waits for an engine are seen to, however many can't be understood."""
    rerun = "UPDATE awfe_step SET impl = 'tests.Rerun' WHERE workflow_id = :id AND position = 2"
    for number, first in enumerate(((ORPHAN,), (RESUMABLE,), (ORPHAN, ASKED))):
        await wrecked(database, [*wrecks.LISTS, *wrecks.LOGS], *first, prefix=f"a{number}")
        await wrecked(database, wrecks.HEADS, *first, prefix=f"b{number}")
    good = Wreck("", (rerun,), frozenset())
    orphans = await wrecked(database, [good], ORPHAN, prefix="orphan")
    resumed = await wrecked(database, [good], RESUMABLE, prefix="resumed")
    world.gates["two"].set()
    async with Engine(database.url, **QUICK, recover_every=0.05) as other:
        for name in (*orphans, *resumed):
            await reached(other, name, "completed")
        await engine.create_workflow("w", {}, [Hold("one"), Note("never")])
        handle = await engine.start("w")
        await world.entered["one"].wait()
        await other.pause("w")
        world.gates["one"].set()
        with pytest.raises(WorkflowPaused):
            await handle
    told = Counter(line for line in caplog.messages if "what the tables say" in line)
    assert max(told.values()) <= 2, "once in each engine"
    assert "Traceback" not in caplog.text
    assert "can't be looked up" not in caplog.text


async def test_a_stop_is_enforced_beside_those_that_can_not_be_understood(
    engine: Engine, database: Database, world: World
) -> None:
    await wrecked(database, [*wrecks.HEADS, *wrecks.LOGS], ORPHAN, ASKED, prefix="a")
    (frozen,) = await wrecked(database, [Wreck("", (), frozenset())], ORPHAN, ASKED, prefix="frozen")
    await engine.create_workflow("w", {}, [Hold("one")])
    handle = await engine.start("w")
    await world.entered["one"].wait()
    await reached(engine, frozen, "stopped")
    world.gates["one"].set()
    await handle


async def test_an_orphan_whose_steps_can_not_be_understood_is_not_run_again(
    engine: Engine, database: Database, world: World
) -> None:
    made = await wrecked(database, wrecks.LISTS, ORPHAN)
    assert set((await engine.recover()).refused) == set(made)
    rows = await database.execute("SELECT DISTINCT state, step_state FROM awfe_workflow WHERE name LIKE 'bad%'")
    assert rows == [("error", "interrupted")]
    assert world.calls == []


async def test_the_number_of_an_attempt_is_never_used_twice(engine: Engine, database: Database, world: World) -> None:
    await engine.create_workflow("w", {}, [Note("one")])
    world.failing["one"] = ValueError("no")
    for verb in (engine.run, engine.restart):
        with pytest.raises(StepError):
            await verb("w")
    await forge(database, "UPDATE awfe_attempt SET attempt = 3 WHERE attempt = 1 AND error_type IS NOT NULL")
    world.failing.clear()
    assert (await engine.restart("w")).steps[0].attempt == 4


async def reached(engine: Engine, name: str, state: str) -> None:
    """Return as soon as a workflow is in a state."""
    async with asyncio.timeout(60):
        while (await engine.get(name)).state != state:
            await asyncio.sleep(0.02)
