"""What is taken over, and what is given back, while somebody else looks."""

import asyncio
from datetime import datetime
from typing import Any

import pytest

from awfe import Engine, StepError, WorkflowPaused
from awfe.domain.moves import Head
from awfe.testing.calls import Calls
from awfe.testing.faults import Fault, Faults
from tests.conformance.conftest import QUICK, OpenEngine
from tests.conformance.helpers import ORPHAN, causes
from tests.conformance.steps import Flaky, Hold, Note, Rerun, World
from tests.databases import Database


async def test_of_two_that_take_over_one_does_and_tells(
    engine: Engine,
    open_engine: OpenEngine,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    other = await open_engine()
    await engine.create_workflow("w", {}, [Note("one")])
    await database.execute(ORPHAN, {"id": 1})
    recovery = engine._steering._recovery
    real = recovery._declared_rerun

    async def meanwhile(head: Head) -> bool:
        assert (await other.recover()).refused == ("w",)
        return await real(head)

    monkeypatch.setattr(recovery, "_declared_rerun", meanwhile)
    assert (await engine.recover()).refused == ("w",)
    assert (await causes(engine)).count("takeover") == 1
    assert caplog.text.count("is gone: now error") == 1


async def test_a_step_that_is_gone_is_not_rerun(engine: Engine, database: Database, world: World) -> None:
    await engine.create_workflow("w", {}, [Rerun("one")])
    await database.execute(ORPHAN, {"id": 1})
    await database.execute("UPDATE awfe_step SET impl = 'tests:Gone'")
    assert (await engine.recover()).refused == ("w",)
    assert (await engine.get("w")).steps[0].state == "interrupted"
    assert world.calls == []


async def test_recover_every_goes_on_when_the_database_is_back(
    database: Database, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    watching = Engine(database.url, **(QUICK | {"recover_every": 0.05, "connect_retry_for": 0.1}))
    calls = Calls(watching)
    async with watching:
        faults = Faults(calls, Fault.TIMEOUT_BEFORE, 0, times=None)
        async with asyncio.timeout(30):
            while "recover: " not in caplog.text:
                await asyncio.sleep(0.01)
        await engine.create_workflow("w", {}, [Note("one")], at=engine._crew.clock())
        faults.heal()
        async with asyncio.timeout(30):
            while (await engine.get("w")).state != "completed":
                await asyncio.sleep(0.01)


async def test_a_run_waits_for_a_lock_that_is_being_given_back(
    engine: Engine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = engine._crew.locks.take

    async def take(workflow_id: int) -> Any:
        held = await real(workflow_id)
        assert held is not None
        release = held.release

        async def late() -> None:
            await world.gates["released"].wait()
            await release()

        monkeypatch.setattr(held, "release", late)
        return held

    monkeypatch.setattr(engine._crew.locks, "take", take)
    await engine.create_workflow("w", {}, [Flaky("one", 1)])
    handle = await engine.start("w")
    async with asyncio.timeout(30):
        while (await engine.get("w")).state != "error":
            await asyncio.sleep(0.01)
    await engine.reset("w")
    again = asyncio.create_task(engine.run("w"))
    await asyncio.sleep(0.05)
    assert not again.done()
    world.gates["released"].set()
    assert (await again).state == "completed"
    with pytest.raises(StepError):
        await handle


async def test_what_others_take_up_first_is_theirs(
    engine: Engine, open_engine: OpenEngine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await open_engine()
    await engine.create_workflow("w", {}, [Hold("one")], at=engine._crew.clock())
    real = engine._crew.waits.to_take_up

    async def meanwhile(now: datetime) -> list[str]:
        names = await real(now)
        assert (await other.recover()).started == ("w",)
        await world.entered["one"].wait()
        return names

    monkeypatch.setattr(engine._crew.waits, "to_take_up", meanwhile)
    recovered = await engine.recover()
    assert (recovered.started, recovered.refused) == ((), ())
    world.gates["one"].set()
    assert (await other.wait("w")).state == "completed"
    assert world.calls == ["one"]


async def test_a_request_whose_answer_is_lost_is_made_once(engine: Engine, database: Database, world: World) -> None:
    asking = Engine(database.url, **QUICK)
    calls = Calls(asking)
    commit = 0
    async with asking:
        for name in ("calm", "struck"):
            await engine.create_workflow(name, {}, [Hold(name), Note("after")])
            handle = await engine.start(name)
            await world.entered[name].wait()
            calls.clear()
            if name == "struck":
                Faults(calls, Fault.LOST_AFTER, commit, times=1)
            pausing = asyncio.create_task(asking.pause(name, actor="ann"))
            while not (await engine.get(name)).request:
                await asyncio.sleep(0.01)
            world.gates[name].set()
            await pausing
            commit = next(call.number for call in calls.log if call.kind == "commit")
            with pytest.raises(WorkflowPaused):
                await handle
            assert (await causes(engine, name)).count("pause") == 1
