"""A plan is what the verb then does: refused exactly where the verb is, with its very words, in every state."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from awfe import (
    AwfeError,
    Engine,
    ErrorState,
    InvalidInput,
    Plan,
    StepError,
    WorkflowHalted,
    WorkflowNotFound,
    WorkflowState,
)
from tests.conformance.conftest import Arranged, OpenEngine
from tests.conformance.steps import Hold, World
from tests.conformance.test_table import STATES

Arrange = Callable[[str], Awaitable[Arranged]]
VERBS: dict[str, tuple[str, dict[str, Any]]] = {
    "run": ("run", {}),
    "start": ("start", {}),
    "pause": ("pause", {}),
    "stop": ("stop", {"grace": 1}),
    "reset": ("reset", {}),
    "reset kept": ("reset", {"keep_context": True, "context": {"x": 1}}),
    "reset 1": ("reset", {"from_step": 1, "context": {"x": 1}}),
    "reset 2": ("reset", {"from_step": 2}),
    "reset 4": ("reset", {"from_step": 4}),
    "reset 5": ("reset", {"from_step": 5}),
    "reset kept 1": ("reset", {"from_step": 1, "keep_context": True}),
    "restart": ("restart", {}),
    "restart 1": ("restart", {"from_step": 1, "context": {"x": 1}}),
    "skip": ("skip", {"context": {"x": 1}}),
    "skip odd": ("skip", {"context": {"x": object()}}),
    "update_context": ("update_context", {"values": {"x": 1}, "unset": ["a"]}),
    "update_context large": ("update_context", {"values": {"x": "x" * (5 << 20)}}),
    "rollback": ("rollback", {}),
    "rollback all": ("rollback", {"include_current": True}),
    "rollback odd": ("rollback", {"skip_undo": 1}),
    "signal": ("signal", {"topic": "go"}),
    "signal odd": ("signal", {"topic": "awfe.go"}),
    "approve": ("approve", {"actor": "ann", "comment": "good"}),
    "reject": ("reject", {}),
    "delete": ("delete", {"actor": "ann", "reason": "old"}),
}


async def outcome(engine: Engine, world: World, plan: Plan, arguments: dict[str, Any]) -> Exception | None:
    """Do what was planned, let the workflow come to rest, and return what refused it."""
    wakes = plan.verb in ("run", "start") and plan.state == "waiting"
    try:
        begun = asyncio.ensure_future(getattr(engine, plan.verb)("w", **arguments))
        if wakes:
            await asyncio.sleep(0)
            await engine.signal("w", "go")
        result = await begun
        if plan.verb == "start":
            await result
    except (StepError, WorkflowHalted):
        pass
    except AwfeError as error:
        return error
    if plan.verb in ("pause", "stop", "signal"):
        world.gates["two"].set()
        world.gates["undo one"].set()
        if plan.verb != "signal":
            await engine.wait("w")
    return None


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("verb", VERBS)
async def test_cell(engine: Engine, world: World, arrange: Arrange, verb: str, state: str) -> None:
    await arrange(state)
    before, history, calls = await engine.get("w"), await engine.history("w"), list(world.calls)
    name, arguments = VERBS[verb]
    plan = await engine.plan("w", name, **arguments)
    assert (await engine.get("w"), await engine.history("w"), world.calls) == (before, history, calls), "it only reads"
    assert (plan.workflow, plan.verb, plan.state) == ("w", name, state)
    if plan.allowed and name in ("run", "start", "restart", "rollback"):
        world.gates["two"].set()

    refused = await outcome(engine, world, plan, arguments)
    assert plan.allowed == (refused is None)
    if refused is not None:
        assert (plan.why_not, plan.error) == (str(refused), type(refused).__name__)
        assert (plan.context, plan.dropped, plan.leads_to) == (before.context, (), state)
        assert await engine.get("w") == before
        assert {step.action for step in plan.steps} == {"keep"}
        return
    assert plan.why_not is plan.error is None
    await _kept(engine, plan, world.calls[len(calls) :])


async def _kept(engine: Engine, plan: Plan, calls: list[str]) -> None:
    """Check that what was planned has come to be."""
    if plan.verb == "delete":
        with pytest.raises(WorkflowNotFound):
            await engine.get("w")
        assert (plan.leads_to, plan.steps, plan.context) == (None, (), {})
        return
    workflow = await engine.get("w")
    if (plan.verb, plan.state) not in (("signal", "waiting"), ("signal", "running"), ("signal", "rolling_back")):
        assert workflow.state == plan.leads_to
    names = {1: "one", 2: "two", 3: "three", 4: "four"}
    acted = [step for step in plan.steps if step.action in ("run", "undo")]
    if plan.verb in ("run", "start", "restart"):
        assert calls == [names[step.position] for step in acted]
    elif plan.verb == "rollback":
        assert calls == [f"undo {names[step.position]}" for step in reversed(acted)]
    elif plan.verb in ("reset", "skip", "update_context"):
        assert workflow.context == plan.context
        assert calls == []


async def test_what_is_dropped_is_listed(engine: Engine, arrange: Arrange) -> None:
    await arrange("error")
    await engine.update_context("w", {"by": "hand"}, unset=["a"])
    plan = await engine.plan("w", "reset")
    told = [(each.position, each.cause, each.saved, dict(each.changes.set)) for each in plan.dropped]
    assert told == [(2, "step_error", False, {"b": 2})]
    assert [step.action for step in plan.steps] == ["keep", "run", "run", "run"]
    plan = await engine.plan("w", "reset", from_step=1)
    told = [(each.position, each.cause, each.saved, dict(each.changes.set)) for each in plan.dropped]
    assert told == [
        (1, "step_completed", True, {"a": 1}),
        (2, "update_context", True, {"by": "hand"}),
        (2, "step_error", False, {"b": 2}),
    ]
    assert plan.context == {"start": 0}
    assert str(plan) == "\n".join(plan.lines()) == EXPECTED
    assert (await engine.reset("w", from_step=1)).context == plan.context


EXPECTED = """\
reset 'w': error → paused; runs nothing by itself: these are for when it goes on
  run   step 1 Undoable (completed)
  run   step 2 HoldOrWait (error)
  run   step 3 Note (pending)
  run   step 4 Note (pending)
  drop  a (step_completed at step 1)
  drop  by, -a (update_context at step 2)
  drop  b (step_error at step 2, not in the context)"""


async def test_what_an_operator_has_edited_since_is_not_taken_over(engine: Engine, arrange: Arrange) -> None:
    await arrange("error")
    await engine.update_context("w", {"b": "by hand"})
    plan = await engine.plan("w", "reset", keep_context=True)
    assert [dict(each.changes.set) for each in plan.dropped] == [{"b": 2}]
    assert plan.context == {"start": 0, "a": 1, "b": "by hand"}
    assert (await engine.reset("w", keep_context=True)).context == plan.context


async def test_a_refused_plan_says_why(engine: Engine, arrange: Arrange) -> None:
    await arrange("error")
    plan = await engine.plan("w", "run")
    assert plan.lines()[0] == "run 'w': error, refused"
    assert "mend the cause, then restart, reset or skip" in plan.lines()[1]
    assert plan.to_dict()["error"] == "ErrorState"
    with pytest.raises(ErrorState) as refusal:
        await engine.run("w")
    assert plan.why_not == str(refusal.value)


async def test_what_no_verb_takes_is_refused(engine: Engine, arrange: Arrange) -> None:
    await arrange("pending")
    for verb, arguments, text in (
        ("fly", {}, "give one of run"),
        (None, {}, "give one of run"),
        ("reset", {"step": 2}, "unexpected keyword argument 'step'"),
        ("run", {"comment": "x"}, "unexpected keyword argument 'comment'"),
        ("signal", {}, "missing a required argument: 'topic'"),
    ):
        with pytest.raises(InvalidInput, match=text):
            await engine.plan("w", verb, **arguments)  # type: ignore[arg-type]  # what is refused
    with pytest.raises(WorkflowNotFound):
        await engine.plan("x", "run")
    assert "give a str" in str((await engine.plan("w", "run", actor=1)).why_not)


async def test_what_stands_in_line(open_engine: OpenEngine, world: World, arrange: Arrange) -> None:
    engine = await open_engine(max_running=1)
    await engine.create_workflow("first", {}, [Hold("first")])
    first = await engine.start("first")
    await world.entered["first"].wait()
    await arrange("paused")
    second = await engine.start("w")
    for verb, arguments in (("run", {}), ("rollback", {}), ("restart", {"from_step": 1})):
        plan = await engine.plan("w", verb, **arguments)
        with pytest.raises(AwfeError) as refusal:
            await getattr(engine, verb)("w", **arguments)
        assert (plan.allowed, plan.why_not) == (False, str(refusal.value))
    plan = await engine.plan("w", "stop")
    assert (plan.allowed, plan.leads_to) == (True, "paused")
    await engine.stop("w")
    with pytest.raises(WorkflowHalted):
        await second
    assert (await engine.get("w")).state == WorkflowState.PAUSED
    world.gates["first"].set()
    await first
