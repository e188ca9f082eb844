"""The connection is lost in the COMMIT of ten workflows: each finds out by itself what became of it."""

import asyncio

import pytest

from awfe import Engine, LockLost
from awfe.testing.calls import Calls
from awfe.testing.invariants import violations
from awfe.testing.proxy import Fault, Proxy
from tests.conformance.steps import World
from tests.conformance.test_batches import ALONE, GOOD, MANY, NAMES, ODD, completed, held, kinds
from tests.databases import Database
from tests.durability.test_commit_ambiguity import disturb, end_idle_transactions, give_up_soon

pytestmark = pytest.mark.databases("mysql", "postgresql")


@pytest.fixture(autouse=True)
def world() -> World:
    """Return what the steps of this test share."""
    World.now = World()
    return World.now


@pytest.mark.parametrize("names", [NAMES, GOOD], ids=["all_good", "one_fenced"])
@pytest.mark.parametrize("fault", Fault)
async def test_each_is_stored_once(
    database: Database, world: World, fault: Fault, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault is Fault.LOSE_REQUEST:
        end_idle_transactions(monkeypatch)
    async with Proxy(database.url) as proxy:
        engine = Engine(proxy.url, **(ALONE | {"locks": "lease"}))
        calls = Calls(engine)
        async with engine:
            handles = await held(engine, world)
            if names is GOOD:
                await database.execute("UPDATE awfe_workflow SET run_token = 2 WHERE name = :odd", {"odd": ODD})
            give_up_soon(monkeypatch)
            strike = proxy.at_commit(1, fault)
            disturbing = asyncio.create_task(disturb(database, strike))
            calls.clear()
            world.gates["all"].set()
            await completed(handles, names)
            if names is GOOD:
                with pytest.raises(LockLost):
                    await handles[ODD]
            await disturbing
            strike.release()
            told = kinds(calls)
    assert told[: told.index("commit")].count("UPDATE") == (1 if names is NAMES else 1 + MANY), "it was that of all"
    assert sorted(world.calls) == sorted([*NAMES, *(["after"] * len(names))])
    assert await violations(database.url, names) == []
