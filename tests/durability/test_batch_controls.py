"""Several workflows in one transaction, without one of its protections each: their tests fail, as those of one do."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from secrets import token_hex

import pytest

from awfe import Engine, StoreUnavailable
from awfe.domain.claims import Claimant, claimed
from awfe.domain.moves import NOBODY
from awfe.persistence.writes import Make
from awfe.testing.invariants import violations
from awfe.testing.proxy import Fault, Proxy
from tests.conformance.steps import Note, World
from tests.conformance.test_batches import ALONE, NAMES, ODD, kinds, open_watched
from tests.conformance.test_batches import (
    test_one_of_which_something_is_asked_is_decided_again_alone as asked,
)
from tests.conformance.test_batches import (
    test_one_that_is_fenced_takes_none_of_the_others_with_it as fenced,
)
from tests.conformance.test_submitted_moves import test_what_is_submitted_again_is_stored_once as submitted_again
from tests.databases import Database
from tests.durability import mutants
from tests.durability.mutants import Mutant
from tests.durability.two_engines import asked_again

Test = Callable[[Database, World], Awaitable[None]]


@pytest.fixture
def world() -> World:
    """Return what the steps of this test share."""
    World.now = World()
    return World.now


@pytest.mark.databases("mysql", "postgresql")
async def test_of_many_claims_one_that_waited_for_an_edit_sees_it(database: Database, world: World) -> None:
    """The COMMIT of an edit is on its way when its workflow is claimed, together with others."""
    del world
    async with Proxy(database.url) as proxy, Engine(proxy.url, **ALONE) as editing:
        engine, calls = await open_watched(database)
        async with engine:
            ids = {}
            for name in NAMES:
                await engine.create_workflow(name, {"edited": 0}, [Note(name)])
                ids[name] = (await engine._reads.head(name)).id
            strike = proxy.at_commit(1, Fault.HOLD_REQUEST)
            edit = asyncio.create_task(editing.update_context(ODD, {"edited": 1}))
            await strike.struck.wait()
            calls.clear()
            claims = [engine._writes.claim(name, claiming(engine), ids[name], pytest.fail) for name in NAMES]
            claimed = asyncio.gather(*claims)
            await asked_again(database)
            strike.release()
            await edit
            contexts = [found.progress.context() for found in await claimed]
            told = kinds(calls)
    assert contexts == [{"edited": b"1" if name == ODD else b"0"} for name in NAMES]
    assert told.count("commit") == 2, "that of the claims, then that of the one that was decided again"
    assert await violations(database.url) == []


def claiming(engine: Engine) -> Make:
    """Return what decides on a claim: the first step begins."""
    claimant = Claimant(token_hex(16), engine._crew.owner, datetime.now(UTC), NOBODY, 5.0)
    return lambda found: claimed(found.head, 1, claimant)


# --- the controls

CONTROLS: list[tuple[Mutant, Test, str]] = [
    (mutants.without_token, partial(fenced, by="token"), "DID NOT RAISE"),
    (mutants.without_run_id, partial(fenced, by="run_id"), "DID NOT RAISE"),
    (mutants.without_count, partial(fenced, by="token"), "DID NOT RAISE"),
    (mutants.without_rev, submitted_again, "was made twice"),
    (mutants.without_request, asked, "awfe_workflow_asked"),
]


@pytest.mark.parametrize(("mutant", "test", "red"), [pytest.param(*each, id=each[0].__name__) for each in CONTROLS])
async def test_a_protection_that_is_taken_out_of_the_batch_is_missed(
    database: Database, world: World, mutant: Mutant, test: Test, red: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An expected failure that must fail, and in the way that the mutant's docstring tells."""
    mutant(monkeypatch)
    with pytest.raises((pytest.fail.Exception, AssertionError, StoreUnavailable), match=red):
        await test(database, world)


@pytest.mark.databases("mysql", "postgresql")
async def test_a_claim_that_is_not_fenced_is_missed(
    database: Database, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for what is seen through a proxy: it is decided on what was there before the edit."""
    mutants.without_fence(monkeypatch)
    with pytest.raises(AssertionError, match="edited"):
        await test_of_many_claims_one_that_waited_for_an_edit_sees_it(database, world)
