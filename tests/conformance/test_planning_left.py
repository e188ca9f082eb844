"""Plans of what others have left, change meanwhile, or have made impossible to understand."""

import pytest

from awfe import Engine, ErrorState, StepError, WorkflowCorrupt, WorkflowNotFound, WorkflowPaused, WorkflowStopped
from awfe.domain.moves import Head
from awfe.steps import Approval
from awfe.testing import crash
from tests.conformance.conftest import OpenEngine
from tests.conformance.helpers import ORPHAN, waits
from tests.conformance.steps import Hold, Note, World
from tests.conformance.waiting_steps import Undoable
from tests.databases import Database


@pytest.mark.parametrize("deleted", [False, True])
async def test_what_others_take_over_while_it_is_planned(
    engine: Engine, open_engine: OpenEngine, database: Database, monkeypatch: pytest.MonkeyPatch, *, deleted: bool
) -> None:
    other = await open_engine()
    await engine.create_workflow("w", {}, [Note("one")])
    await database.execute(ORPHAN, {"id": 1})
    recovery = engine._planner._recovery
    real = recovery.is_alive

    async def meanwhile(head: Head) -> bool:
        monkeypatch.undo()
        alive = await real(head)
        assert (await other.recover()).refused == ("w",)
        if deleted:
            await other.delete("w")
        return alive

    monkeypatch.setattr(recovery, "is_alive", meanwhile)
    if deleted:
        with pytest.raises(WorkflowNotFound):
            await engine.plan("w", "run")
        return
    plan = await engine.plan("w", "run")
    with pytest.raises(ErrorState) as refusal:
        await engine.run("w")
    assert (plan.state, plan.allowed, plan.why_not) == ("error", False, str(refusal.value))


@pytest.mark.parametrize("verb", ["reset", "run", "delete"])
async def test_a_body_that_outlived_its_stop_and_died_with_its_process(
    engine: Engine, world: World, database: Database, verb: str
) -> None:
    """Its workflow has an owner still, who is gone."""
    await engine.create_workflow("w", {}, [Hold("one")])
    handle = await engine.start("w")
    await world.entered["one"].wait()
    await engine.stop("w")
    with pytest.raises(WorkflowStopped):
        await handle
    await database.execute("UPDATE awfe_workflow SET owner = 'gone:1:0123456789abcdef'")
    plan = await engine.plan("w", verb)
    if verb == "run":
        with pytest.raises(ErrorState) as refusal:
            await engine.run("w")
        assert (plan.allowed, plan.why_not) == (False, str(refusal.value))
        return
    assert plan.allowed
    workflow = await getattr(engine, verb)("w")
    assert workflow is None or (workflow.state, workflow.context) == (plan.leads_to, plan.context)


async def _halfway_back(engine: Engine, world: World) -> None:
    """Make a workflow whose rollback has failed at the second of three steps."""
    await engine.create_workflow("w", {}, [Undoable("one"), Undoable("two"), Undoable("three")])
    await engine.run("w")
    world.failing["undo two"] = ValueError("no")
    with pytest.raises(StepError):
        await engine.rollback("w")


async def test_a_step_that_is_gone_in_the_middle_of_a_rollback(
    engine: Engine, world: World, database: Database
) -> None:
    """Nobody knows whether it could undo anything; what does not roll back is planned all the same."""
    await _halfway_back(engine, world)
    await database.execute("UPDATE awfe_step SET impl = 'tests:Gone' WHERE position = 1")
    plan = await engine.plan("w", "signal", topic="x")
    assert [each.action for each in plan.steps] == ["keep", "undo", "keep"]
    assert (await engine.plan("w", "rollback")).error == "StepNotFound"


async def test_steps_that_can_not_be_understood(engine: Engine, world: World, database: Database) -> None:
    await _halfway_back(engine, world)
    await database.execute("UPDATE awfe_step SET policies = '{' WHERE position = 1")
    plan = await engine.plan("w", "signal", topic="x")
    await engine.signal("w", "x")
    assert (plan.allowed, plan.leads_to) == (True, "error")
    for verb in ("rollback", "run"):
        with pytest.raises(WorkflowCorrupt, match=r"awfe_step\.policies of step 1"):
            await engine.plan("w", verb)
        with pytest.raises(WorkflowCorrupt, match=r"awfe_step\.policies of step 1"):
            await getattr(engine, verb)("w")


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("broken", ["output = CAST(x'ff' AS TEXT)", "changes = '{'"])
async def test_what_cannot_be_understood_and_whose_runner_is_gone(
    engine: Engine, open_engine: OpenEngine, database: Database, world: World, broken: str
) -> None:
    await engine.create_workflow("w", {}, [Note("one"), Hold("two")])
    await engine.start("w")
    await world.entered["two"].wait()
    await crash(engine)
    await database.execute(f"UPDATE awfe_attempt SET {broken}")
    other = await open_engine()
    plan = await other.plan("w", "delete")
    assert (plan.allowed, plan.state, plan.leads_to) == (True, "running", None)
    with pytest.raises(WorkflowCorrupt):
        await other.plan("w", "run")
    await other.delete("w")


@pytest.mark.parametrize(("verb", "state"), [("stop", "stopped"), ("pause", "paused")])
async def test_a_broken_one_that_runs_can_be_halted(
    engine: Engine, world: World, database: Database, verb: str, state: str
) -> None:
    await engine.create_workflow("w", {}, [Note("one"), Hold("two"), Note("three")])
    handle = await engine.start("w")
    await world.entered["two"].wait()
    await database.execute("UPDATE awfe_attempt SET changes = '{'")
    plan = await engine.plan("w", verb)
    assert (plan.allowed, plan.leads_to, plan.steps, plan.context) == (True, state, (), {})
    await getattr(engine, verb)("w")
    world.gates["two"].set()
    with pytest.raises((WorkflowPaused, WorkflowStopped)):
        await handle
    assert await database.execute("SELECT state FROM awfe_workflow") == [(state,)]


@pytest.mark.parametrize(("verb", "state"), [("stop", "stopped"), ("signal", "waiting"), ("approve", "waiting")])
async def test_a_broken_one_that_waits_can_be_halted_and_told(
    engine: Engine, database: Database, verb: str, state: str
) -> None:
    await engine.create_workflow("w", {}, [Note("one"), Approval("go on?")])
    await engine.start("w")
    await waits(engine)
    await database.execute("UPDATE awfe_attempt SET changes = '{' WHERE position = 1")
    arguments = {"topic": "x"} if verb == "signal" else {}
    plan = await engine.plan("w", verb, **arguments)
    assert (plan.allowed, plan.leads_to, plan.steps, plan.context) == (True, state, (), {})
    with pytest.raises(WorkflowCorrupt):
        await engine.plan("w", "reject")
    await getattr(engine, verb)("w", **arguments)
    causes = await database.execute("SELECT cause FROM awfe_event ORDER BY id")
    assert (verb,) in causes
