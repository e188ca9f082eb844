"""Plans hold whatever a workflow has been through: random lives, and workflows whose runner is gone."""

import asyncio
import random
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from awfe import AwfeError, BaseStep, Context, Engine, Plan, StepError, WorkflowHalted
from tests.conformance.conftest import OpenEngine
from tests.conformance.helpers import Start, create, each_kind_of_lock, killed, lines
from tests.conformance.steps import Note, Stubborn, World
from tests.conformance.waiting_steps import Undoable
from tests.databases import Database

ROUNDS = 50
STEPS = 4


class Fate:
    """What the steps of a random life go by, and what they saw."""

    chance: ClassVar[random.Random]
    engine: ClassVar[Engine]
    seen: ClassVar[list[tuple[str, dict[str, Any]]]]


async def _act(ctx: Context, what: str) -> None:
    """Change this and that, may save it, be halted, or fail."""
    chance = Fate.chance
    Fate.seen.append((f"{what} {ctx.step.position}", dict(ctx)))
    for saves in (chance.random() < 0.4, False):
        ctx[chance.choice("abcd")] = chance.randrange(100)
        if chance.random() < 0.3:
            del ctx[chance.choice(sorted(ctx))]
        if saves:
            await ctx.checkpoint()
    if chance.random() < 0.15:
        await Fate.engine.pause(ctx.workflow)
    if chance.random() < 0.1:
        await Fate.engine.stop(ctx.workflow)
        await asyncio.sleep(30)
    if chance.random() < 0.3:
        message = "bad luck"
        raise ValueError(message)


class Chancy(BaseStep, name="tests.Chancy"):
    """A step that can't be undone."""

    async def work(self, ctx: Context) -> None:
        """Act."""
        await _act(ctx, "work")


class ChancyBack(Chancy, name="tests.ChancyBack"):
    """One that can be."""

    async def undo(self, ctx: Context) -> None:
        """Act."""
        await _act(ctx, "undo")


def _drawn(chance: random.Random) -> tuple[str, dict[str, Any]]:
    """Draw a verb and what it is called with."""
    values = {key: chance.randrange(100) for key in chance.sample("abcd", chance.randrange(3))}
    first = chance.randint(1, STEPS + 1)
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("run", {}),
        ("pause", {}),
        ("stop", {}),
        ("reset", {"keep_context": chance.random() < 0.5, "context": values}),
        ("reset", {"from_step": first, "context": values}),
        ("restart", {"keep_context": chance.random() < 0.5}),
        ("restart", {"from_step": first, "context": values}),
        ("skip", {"context": values}),
        ("update_context", {"values": values, "unset": chance.sample("abcd", chance.randrange(3))}),
        ("rollback", {"include_current": chance.random() < 0.5, "skip_undo": chance.random() < 0.5}),
        ("signal", {"topic": "go"}),
        ("delete", {}),
    ]
    return chance.choices(kinds, [6, 1, 1, 4, 4, 4, 4, 2, 3, 4, 1, 0.3])[0]


async def test_random_lives(engine: Engine, database: Database, seed: int) -> None:
    Fate.chance, Fate.engine, Fate.seen = random.Random(seed), engine, []  # noqa: S311 - a test's own
    there = 0
    for _ in range(ROUNDS):
        if not there:
            steps = [Fate.chance.choice([Chancy, ChancyBack])() for _ in range(STEPS)]
            if Fate.chance.random() < 0.5:
                steps[1] = steps[1].using(on_error="skip")
            if Fate.chance.random() < 0.5:
                steps[2] = steps[2].using(on_interrupt="rerun")
            await engine.create_workflow("w", {"a": 0}, steps)
        verb, arguments = _drawn(Fate.chance)
        there = await _holds(engine, verb, arguments)
        if there:
            # What people see by SQL is what a replay finds.
            rows = await database.execute("SELECT state FROM awfe_step_state WHERE workflow = 'w' ORDER BY position")
            assert [row[0] for row in rows] == [str(step.state) for step in (await engine.get("w")).steps]


async def _holds(engine: Engine, verb: str, arguments: dict[str, Any]) -> int:
    """Plan, do it, and compare; returns how many workflows are there then."""
    before = await engine.get("w")
    plan = await engine.plan("w", verb, **arguments)
    assert (await engine.get("w")) == before
    Fate.seen.clear()
    error = await _raised(getattr(engine, verb)("w", **arguments))
    if error is not None and not isinstance(error, (StepError, WorkflowHalted)):
        assert (plan.allowed, plan.why_not, plan.error) == (False, str(error), type(error).__name__)
        assert plan.context == before.context
        return 1
    assert plan.allowed, plan.why_not
    whole = error is None
    assert whole or verb in ("run", "restart", "rollback")
    if verb == "delete":
        assert {key for each in plan.dropped for key in each.changes.set} >= set(before.context)
        return 0
    _acted(plan, whole=whole)
    after = await engine.get("w")
    if whole:
        assert after.state == plan.leads_to
    if verb not in ("run", "restart", "rollback"):
        assert (after.context, Fate.seen) == (plan.context, [])
    elif Fate.seen:
        assert Fate.seen[0][1] == plan.context
    given = {**arguments.get("context", {}), **arguments.get("values", {})}
    changed = {key for key in {**before.context, **plan.context} if _of(before.context, key) != _of(plan.context, key)}
    lost = {key for each in plan.dropped if each.saved for key in (*each.changes.set, *each.changes.unset)}
    kept = arguments.get("keep_context", False)
    assert kept or changed <= lost | set(given) | set(arguments.get("unset", ())), "a change that is not listed"
    return 1


async def _raised(act: Awaitable[Any]) -> AwfeError | None:
    try:
        await act
    except AwfeError as error:
        return error
    return None


def _of(context: dict[str, Any], key: str) -> Any:
    return context.get(key, "none")


def _acted(plan: Plan, *, whole: bool) -> None:
    what = "undo" if plan.verb == "rollback" else "run"
    planned = [f"{'undo' if what == 'undo' else 'work'} {each.position}" for each in plan.steps if each.action == what]
    if what == "undo":
        planned.reverse()
    done = [deed for deed, _ in Fate.seen]
    if plan.verb not in ("run", "restart", "rollback"):
        planned = []
    assert done == (planned if whole else planned[: len(done)])


@pytest.mark.parametrize("rerun", [False, True])
@pytest.mark.parametrize("verb", ["run", "pause", "stop", "reset", "skip", "rollback", "signal"])
async def test_what_a_dead_process_has_left(
    engine: Engine, start: Start, tmp_path: Path, verb: str, *, rerun: bool
) -> None:
    """A plan tells what becomes of it, and leaves it as it is."""
    marks = tmp_path / "marks"
    await create(engine, marks, rerun=rerun)
    process = await start("run", "w")
    await lines(marks, 2)
    locked = await engine.plan("w", "run")
    assert (locked.error, f":{process.pid}:" in str(locked.why_not)) == ("WorkflowLocked", True)
    await killed(process)
    async with asyncio.timeout(60):
        while (await engine.plan("w", "run")).error == "WorkflowLocked":
            await asyncio.sleep(0.05)
    arguments = {"topic": "go"} if verb == "signal" else {}
    plan = await engine.plan("w", verb, **arguments)
    assert (plan.state, (await engine.get("w")).state) == ("running", "running"), "it only reads"
    Path(f"{marks}.two").touch()
    error = await _raised(getattr(engine, verb)("w", **arguments))
    if error is not None:
        assert (plan.allowed, plan.why_not, plan.error) == (False, str(error), type(error).__name__)
        return
    assert plan.allowed
    workflow = await engine.get("w")
    assert workflow.state == plan.leads_to
    if verb != "run":
        assert workflow.context == plan.context


@each_kind_of_lock
async def test_what_a_dead_process_has_left_with_each_kind_of_lock(
    engine: Engine, start: Start, tmp_path: Path
) -> None:
    await create(engine, tmp_path / "marks")
    process = await start("run", "w")
    await lines(tmp_path / "marks", 2)
    assert (await engine.plan("w", "reset")).error == "WorkflowLocked"
    await killed(process)
    async with asyncio.timeout(60):
        while not (plan := await engine.plan("w", "reset")).allowed:
            await asyncio.sleep(0.05)
    assert (await engine.reset("w")).context == plan.context


async def test_a_body_that_lives(open_engine: OpenEngine, world: World) -> None:
    engine, other = await open_engine(stop_grace=0.05), await open_engine()
    await engine.create_workflow("w", {}, [Stubborn("one")])
    await engine.start("w")
    await world.entered["one"].wait()
    await engine.stop("w")
    async with asyncio.timeout(30):
        while (await engine.get("w")).state != "stopped":
            await asyncio.sleep(0.01)
    for by in (engine, other):
        for verb in ("run", "reset", "rollback", "delete"):
            plan = await by.plan("w", verb)
            with pytest.raises(AwfeError, match="its last step is still alive") as refusal:
                await getattr(by, verb)("w")
            assert (plan.allowed, plan.why_not) == (False, str(refusal.value))
    world.gates["one"].set()


@pytest.mark.parametrize("verb", ["run", "restart", "rollback", "skip"])
async def test_a_step_that_is_gone_from_the_program(
    engine: Engine, verb: str, database: Database, world: World
) -> None:
    world.failing["two"] = ValueError("no")
    await engine.create_workflow("w", {}, [Undoable("one"), Note("two")])
    if verb != "run":
        with pytest.raises(StepError):
            await engine.run("w")
    await database.execute("UPDATE awfe_step SET impl = 'tests:Gone' WHERE position = 2")
    plan = await engine.plan("w", verb)
    if verb == "skip":
        assert plan.allowed
        return
    with pytest.raises(AwfeError) as refusal:
        await getattr(engine, verb)("w")
    assert (plan.allowed, plan.why_not, plan.error) == (False, str(refusal.value), "StepNotFound")


async def test_in_the_middle_of_a_rollback(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Undoable("one"), Undoable("two"), Undoable("three")])
    await engine.run("w")
    world.failing["undo two"] = ValueError("no")
    with pytest.raises(StepError):
        await engine.rollback("w")
    forward: list[tuple[str, dict[str, Any]]] = [("run", {}), ("reset", {}), ("skip", {})]
    for verb, arguments in (*forward, ("update_context", {"values": {}})):
        plan = await engine.plan("w", verb, **arguments)
        with pytest.raises(AwfeError, match="in the middle of a rollback") as refusal:
            await getattr(engine, verb)("w", **arguments)
        assert (plan.allowed, plan.why_not) == (False, str(refusal.value))
    actions = [each.action for each in (await engine.plan("w", "rollback")).steps]
    assert actions == ["undo", "undo", "keep"]
    actions = [each.action for each in (await engine.plan("w", "rollback", skip_undo=True)).steps]
    assert actions == ["undo", "keep", "keep"]
    assert [each.action for each in (await engine.plan("w", "signal", topic="x")).steps] == ["undo", "undo", "keep"]
    plan = await engine.plan("w", "reset", from_step=2)
    assert [each.action for each in plan.steps] == ["keep", "run", "run"]
    assert (await engine.reset("w", from_step=2)).context == plan.context


async def test_what_cannot_be_understood(engine: Engine, database: Database, open_engine: OpenEngine) -> None:
    await engine.create_workflow("w", {}, [Note("one")])
    await database.execute("UPDATE awfe_step SET position = 7")
    other = await open_engine()
    for verb in ("run", "reset", "skip"):
        with pytest.raises(AwfeError, match="what the tables say about it can't be"):
            await other.plan("w", verb)
    plan = await other.plan("w", "delete")
    assert (plan.allowed, plan.state, plan.leads_to) == (True, "pending", None)
    await database.execute("UPDATE awfe_workflow SET position = 3")
    plan = await other.plan("w", "delete")
    assert (plan.allowed, plan.state, plan.leads_to) == (True, None, None)
    assert plan.lines() == ("delete 'w': not understood → deleted",)
    await other.delete("w")
