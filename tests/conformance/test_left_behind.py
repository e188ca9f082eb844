"""A database that stays away for longer than a run waits: what it raises, and how the step is found afterwards."""

import asyncio

import pytest

from awfe import Engine, StoreUnavailable
from awfe.testing.calls import Calls
from awfe.testing.faults import Fault, Faults
from tests.conformance.conftest import QUICK, OpenEngine
from tests.conformance.helpers import each_kind_of_lock
from tests.conformance.steps import Hold, Note, Rerun, World
from tests.databases import Database

pytestmark = each_kind_of_lock


@pytest.mark.parametrize("rerun", [False, True])
async def test_a_result_that_could_not_be_saved_in_time_is_found_as_interrupted(
    open_engine: OpenEngine, world: World, database: Database, *, rerun: bool
) -> None:
    """The engine that had to give it up brings it to rest itself, as soon as the database is back."""
    step = (Rerun if rerun else Hold)("one", {"a": 1})
    engine = Engine(database.url, **(QUICK | {"db_retry_for": 0.2, "connect_retry_for": 0.2}))
    calls = Calls(engine)
    async with engine:
        await engine.create_workflow("w", {}, [step, Note("two")])
        handle = await engine.start("w")
        await world.entered["one"].wait()
        faults = Faults(calls, Fault.TIMEOUT_BEFORE, 0, times=None)
        world.gates["one"].set()
        with pytest.raises(StoreUnavailable):
            await handle
        assert engine._steering.control.left_behind
        faults.heal()
        other = await open_engine()
        async with asyncio.timeout(30):
            while (await other.get("w")).state == "running":
                await asyncio.sleep(0.02)
        workflow = await other.get("w")
        assert (workflow.state, workflow.context) == ("paused" if rerun else "error", {})
        assert workflow.steps[0].state == ("pending" if rerun else "interrupted")
        takeover = next(event for event in await other.history("w") if event.cause == "takeover")
        assert takeover.actor == engine._crew.owner
        assert (await other.recover()).started == (("w",) if rerun else ())
        if not rerun:
            assert (await other.restart("w")).state == "completed"
        assert (await other.wait("w")).state == "completed"
    assert world.calls == ["one", "one", "two"]


@pytest.mark.databases("mysql", "postgresql")
async def test_what_others_have_taken_up_meanwhile_is_theirs(
    open_engine: OpenEngine, world: World, database: Database
) -> None:
    engine = Engine(database.url, **(QUICK | {"db_retry_for": 0.2, "connect_retry_for": 0.2}))
    calls = Calls(engine)
    async with engine:
        await engine.create_workflow("w", {}, [Rerun("one"), Note("two")])
        handle = await engine.start("w")
        await world.entered["one"].wait()
        faults = Faults(calls, Fault.TIMEOUT_BEFORE, 0, times=None)
        world.gates["one"].set()
        with pytest.raises(StoreUnavailable):
            await handle
        world.gates["one"].clear()
        world.entered["one"].clear()
        other = await open_engine()
        async with asyncio.timeout(30):
            while (await other.recover()).started != ("w",):
                await asyncio.sleep(0.02)
        await world.entered["one"].wait()
        faults.heal()
        async with asyncio.timeout(30):
            while engine._steering.control.left_behind:
                await asyncio.sleep(0.02)
        world.gates["one"].set()
        assert (await other.wait("w")).state == "completed"
        assert [event.actor for event in await other.history("w") if event.cause == "takeover"] == [other._crew.owner]
    assert world.calls == ["one", "one", "two"]
