"""Approval: a step that waits for people."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from awfe import Engine, InvalidInput, InvalidState, StepError, StepTimeout
from awfe.domain.moves import Head
from awfe.steps import Approval, Delay
from tests.conformance.conftest import OpenEngine
from tests.conformance.helpers import waits
from tests.conformance.steps import Note, World


async def test_who_approved_when_and_why_is_kept(engine: Engine, open_engine: OpenEngine, world: World) -> None:
    other = await open_engine()
    steps = [Approval("Restart {host}?", save_as="approved"), Note("after")]
    await engine.create_workflow("w", {"host": "db1"}, steps)
    handle = await engine.start("w")
    await waits(engine)
    assert (await engine.get("w")).steps[0].output == "Restart db1?\n"
    asked = datetime.now(UTC)
    await other.approve("w", actor="ada", comment="looks good")
    workflow = await handle
    approved = workflow.context["approved"]
    assert (approved["actor"], approved["comment"]) == ("ada", "looks good")
    assert world.calls == ["after"]
    event = next(event for event in await engine.history("w") if event.cause == "approve")
    assert (event.actor, event.reason, event.step) == ("ada", "looks good", 1)
    assert datetime.fromisoformat(approved["at"]) == event.at
    assert asked <= event.at <= datetime.now(UTC)


async def test_a_rejected_step_fails_and_can_be_asked_again(engine: Engine) -> None:
    await engine.create_workflow("w", {}, [Approval("Sure?"), Note("after")])
    handle = await engine.start("w")
    await waits(engine)
    workflow = await engine.reject("w", actor="grace", comment="not on Friday")
    assert (workflow.state, workflow.steps[0].state) == ("error", "error")
    with pytest.raises(StepError, match="rejected by grace: not on Friday"):
        await handle
    event = next(event for event in await engine.history("w") if event.cause == "reject")
    assert (event.actor, event.reason, event.after) == ("grace", "not on Friday", "error")
    await engine.reset("w")
    handle = await engine.start("w")
    await waits(engine)
    await engine.approve("w")
    assert (await handle).state == "completed"


async def test_only_those_who_are_asked_may_answer(engine: Engine) -> None:
    await engine.create_workflow("w", {}, [Approval("Sure?", of=["ada", "grace"])])
    await engine.start("w")
    await waits(engine)
    for verb in (engine.approve, engine.reject):
        for actor in ("eve", None):
            with pytest.raises(InvalidState, match="asks for the approval of ada, grace"):
                await verb("w", actor=actor)
    await engine.approve("w", actor="grace")
    assert (await engine.wait("w")).state == "completed"


async def test_nothing_is_approved_that_was_not_asked(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Note("one"), Approval("Sure?"), Approval("Really?")])
    with pytest.raises(InvalidState, match="approve and reject are allowed in waiting"):
        await engine.approve("w")
    await engine.start("w")
    await waits(engine)
    await asyncio.gather(engine.approve("w"), engine.approve("w"), return_exceptions=True)
    async with asyncio.timeout(30):
        while (await engine.get("w")).position != 3:
            await asyncio.sleep(0.01)
    await waits(engine)
    assert (await engine.get("w")).state == "waiting", "one answer is for one question"
    await engine.approve("w")
    assert (await engine.wait("w")).state == "completed"
    assert world.calls == ["one"]


async def test_an_approval_expires(engine: Engine) -> None:
    await engine.create_workflow("w", {}, [Delay(0.01), Approval("Sure?", expires=0.03)])
    with pytest.raises(StepTimeout):
        await engine.run("w")


@pytest.mark.parametrize("bad", [{"of": []}, {"of": "ada"}, {"of": [1]}, {"expires": -1}, {"save_as": 1}])
def test_what_can_not_be_asked_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Approval("Sure?", **bad)
    with pytest.raises(InvalidInput):
        Delay(-1)


async def test_an_answer_that_others_gave_first_is_not_the_answer_to_the_next_question(
    engine: Engine, open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await open_engine()
    await engine.create_workflow("w", {}, [Approval("Sure?"), Approval("Really?")])
    await engine.start("w")
    await waits(engine)
    real = other._reads.head

    async def read(name: str) -> Head:
        head = await real(name)
        monkeypatch.undo()
        await engine.approve(name)
        async with asyncio.timeout(30):
            while (await engine.get(name)).position != 2:
                await asyncio.sleep(0.01)
        await waits(engine)
        return head

    monkeypatch.setattr(other._reads, "head", read)
    with pytest.raises(InvalidState, match="approve and reject are allowed"):
        await other.approve("w")
    assert (await engine.get("w")).position == 2


@pytest.mark.parametrize(("verb", "leads_to"), [("approve", "waiting"), ("reject", "error")])
async def test_an_answer_can_be_planned(engine: Engine, verb: str, leads_to: str) -> None:
    """What an approval leads to the workflow decides when it goes on."""
    await engine.create_workflow("w", {}, [Approval("Sure?"), Note("after")])
    await engine.start("w")
    await waits(engine)
    plan = await engine.plan("w", verb, actor="ada", comment="for a reason")
    assert (plan.allowed, plan.leads_to, (await engine.get("w")).state) == (True, leads_to, "waiting")
    await getattr(engine, verb)("w", actor="ada", comment="for a reason")
    assert (await engine.wait("w")).state == ("completed" if verb == "approve" else leads_to)
