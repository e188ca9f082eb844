"""What each protection of the protocol is for; at the end, that its test fails without it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from awfe import BaseStep, Context, Engine
from awfe.domain import moves
from awfe.domain.delta import Delta
from awfe.testing.invariants import violations
from awfe.testing.proxy import Fault
from tests.conformance import test_transactional_cuts as cuts
from tests.conformance.conftest import QUICK
from tests.conformance.steps import Hold, Note, World
from tests.conformance.transactional_steps import make_table
from tests.databases import Database
from tests.durability import mutants
from tests.durability import test_own_transactions as own
from tests.durability.mutants import Mutant
from tests.durability.two_engines import asked_again, by_single_statements, told, two

Test = Callable[[Database], Awaitable[None]]

pytestmark = pytest.mark.databases("mysql", "postgresql")


@pytest.fixture(autouse=True)
def world() -> World:
    """Return what the steps of this test share."""
    World.now = World()
    return World.now


@dataclass
class SaveAtGate(BaseStep):
    """Saves when its gate opens; each attempt has a gate of its own."""

    on_interrupt = "rerun"
    name: str

    async def work(self, ctx: Context) -> None:
        """Wait, and save."""
        mine = f"{self.name} {ctx.step.attempt}"
        World.now.entered[mine].set()
        await World.now.gates[mine].wait()
        ctx[mine] = True
        try:
            await ctx.checkpoint()
        finally:
            World.now.entered[f"{mine} saved"].set()


# --- the fence


async def test_a_runner_that_was_taken_over_saves_nothing(database: Database) -> None:
    """Its step has ended and is being saved while another engine finds its lock free and takes the workflow over."""
    async with two(database) as engines:
        handle = await engines.start(Hold("one", {"one": 1}), Note("two"), until="one")
        await engines.cut_off_first("one")
        assert (await engines.second.recover()).refused == ("w",)
        engines.proxy.thaw()
        first = await told(handle)
        assert await violations(database.url) == []
        assert (first, World.now.calls) == ("LockLost", ["one"])


async def test_of_two_runners_one_saves(database: Database) -> None:
    """The first is being saved a checkpoint while the second takes the workflow over, and runs the step again."""
    async with two(database) as engines:
        handle = await engines.start(SaveAtGate("one"), until="one 1")
        await engines.cut_off_first("one 1")
        assert (await engines.second.recover()).started == ("w",)
        await World.now.entered["one 2"].wait()
        engines.proxy.thaw()
        await World.now.entered["one 1 saved"].wait()
        World.now.gates["one 2"].set()
        second = await engines.second.wait("w", 30)
        first = await told(handle)
        assert await violations(database.url) == []
        assert (first, second.state, second.context) == ("LockLost", "completed", {"one 2": True})


# What a replica that is promoted knows, when the claim had not reached it yet.
BEFORE_THE_CLAIM = (
    "UPDATE awfe_workflow SET attempt = 0, attempt_started_at = NULL, started_at = NULL, owner = NULL",
    "UPDATE awfe_workflow SET state = 'pending', step_state = 'pending', run_token = 0, run_id = '', rev = 0",
    "DELETE FROM awfe_event WHERE rev > 0",
)


async def test_a_token_that_a_replica_gives_out_again_is_good_for_one(database: Database) -> None:
    """The database forgets the first runner's claim, so the second's has the same token and revision."""
    async with two(database) as engines:
        handle = await engines.start(Hold("one", {"one": 1}), until="one")
        await engines.cut_off_first("one")
        for sql in BEFORE_THE_CLAIM:
            await database.execute(sql)
        World.now.gates["one"].clear()
        World.now.entered["one"].clear()
        second = await engines.second.start("w")
        await World.now.entered["one"].wait()
        engines.proxy.thaw()
        first = await told(handle)
        World.now.gates["one"].set()
        assert (first, await told(second)) == ("LockLost", "done")
        assert await violations(database.url) == []


async def test_a_move_that_is_applied_again_is_stored_once(database: Database) -> None:
    """By a call of its own, as after one that was cancelled and of which nobody knows whether it was committed."""
    async with two(database) as engines:
        handle = await engines.start(SaveAtGate("one"), until="one 1")
        run = engines.first._steering.control.get("w")
        assert run is not None
        move = moves.checkpointed(run.head, Delta.of({"saved": 1}, ()), datetime.now(UTC))
        run.head = await engines.first._writes.apply(move, 10)
        assert await engines.first._writes.apply(move, 10) == run.head
        World.now.gates["one 1"].set()
        assert await told(handle) == "done"
        assert await violations(database.url) == []


async def test_a_commit_whose_reply_is_lost_has_succeeded(database: Database) -> None:
    async with two(database) as engines:
        handle = await engines.start(SaveAtGate("one"), until="one 1")
        engines.proxy.at_commit(1, Fault.CUT_REPLY)
        World.now.gates["one 1"].set()
        assert await told(handle) == "done"
        assert await violations(database.url) == []


async def test_no_step_begins_after_a_pause_has_returned(database: Database) -> None:
    """The runner can't hear of it: what tells it is its own next move."""
    async with two(database) as engines:
        handle = await engines.start(Hold("one"), Note("two"), until="one")
        engines.proxy.freeze()
        await engines.second.pause("w")
        World.now.gates["one"].set()
        engines.proxy.thaw()
        await told(handle)
        assert await violations(database.url) == []
        assert World.now.calls == ["one"]


# --- locking reads


async def test_an_edit_whose_commit_lands_late_has_succeeded(database: Database) -> None:
    """The client has lost its connection and asks again while its COMMIT is still on the way."""
    async with two(database) as engines:
        await engines.second.create_workflow("w", {}, [Note("one")])
        strike = engines.proxy.at_commit(1, Fault.LATE)
        edit = asyncio.create_task(told(engines.first.update_context("w", {"edited": 1})))
        await asked_again(database)
        strike.release()
        assert await edit == "done", "what is stored has succeeded"
        assert [event.cause for event in await engines.second.history("w")] == ["created", "update_context"]


async def test_what_is_being_claimed_is_not_deleted(database: Database) -> None:
    """The COMMIT of a claim is on its way when the workflow is deleted."""
    async with two(database) as engines:
        by_single_statements(engines.first)
        await engines.second.create_workflow("w", {}, [Hold("one")])
        strike = engines.proxy.at_commit(1, Fault.HOLD_REQUEST)
        handle = await engines.first.start("w")
        await strike.struck.wait()
        deleting = asyncio.create_task(told(engines.second.delete("w")))
        await asked_again(database)
        strike.release()
        deleted = await deleting
        World.now.gates["one"].set()
        assert (deleted, await told(handle)) == ("WorkflowLocked", "done")


async def test_a_claim_that_waited_for_an_edit_sees_it(database: Database) -> None:
    """The COMMIT of an edit is on its way when the workflow is run."""
    async with two(database) as engines:
        await engines.second.create_workflow("w", {"edited": 0}, [Hold("one")])
        strike = engines.proxy.at_commit(1, Fault.HOLD_REQUEST)
        edit = asyncio.create_task(engines.first.update_context("w", {"edited": 1}))
        await strike.struck.wait()
        seen: list[object] = []
        engines.second.before_step(seen_by(seen))
        handle = await engines.second.start("w")
        await asked_again(database)
        strike.release()
        await edit
        World.now.gates["one"].set()
        await handle
        assert seen == [{"edited": 1}]


def seen_by(seen: list[object]) -> Callable[[Context], Awaitable[None]]:
    """Return a hook that notes what a step finds in its context."""

    async def note(ctx: Context) -> None:
        seen.append(dict(ctx))

    return note


# --- the registry


async def test_one_session_takes_a_lock_once(database: Database) -> None:
    async with Engine(database.url, locks="shared", **QUICK) as engine:
        taken = [await engine._crew.locks.take(1) for _ in range(2)]
        assert [held is not None for held in taken] == [True, False]


# --- the controls

CONTROLS: list[tuple[Mutant, Test, str]] = [
    (mutants.without_token, test_a_runner_that_was_taken_over_saves_nothing, "token 1, when it was 2 already"),
    (mutants.without_fence, test_of_two_runners_one_saves, "was made twice"),
    (
        mutants.without_fence,
        own.test_a_runner_that_was_taken_over_stores_no_row,
        "'StoreUnavailable' != 'LockLost'",
    ),
    (mutants.without_run_id, test_a_token_that_a_replica_gives_out_again_is_good_for_one, "'done', 'done'"),
    (mutants.without_rev, test_a_move_that_is_applied_again_is_stored_once, "was made twice"),
    (mutants.without_rev, test_a_commit_whose_reply_is_lost_has_succeeded, "'StepError' == 'done'"),
    (mutants.without_fence, test_a_claim_that_waited_for_an_edit_sees_it, "'edited': 0"),
    (mutants.without_request, test_no_step_begins_after_a_pause_has_returned, "had asked it not to"),
    (
        mutants.without_request,
        own.test_a_pause_is_heeded_in_the_transaction_that_finds_it,
        "had asked it not to",
    ),
    (mutants.without_locking_reads, test_an_edit_whose_commit_lands_late_has_succeeded, "what is stored has succeeded"),
    (mutants.without_locking_reads, test_what_is_being_claimed_is_not_deleted, r"\('done', "),
    (mutants.without_registry, test_one_session_takes_a_lock_once, "True, True"),
]


def _named(each: object) -> str | None:
    return getattr(each, "__name__", "").removeprefix("test_") or None


@pytest.mark.parametrize(
    ("mutant", "test", "red"), [pytest.param(*each, id=f"{_named(each[0])}_{_named(each[1])}") for each in CONTROLS]
)
async def test_a_protection_that_is_taken_out_is_missed(
    database: Database, mutant: Mutant, test: Test, red: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An expected failure that must fail, and in the way that the mutant's docstring tells."""
    mutant(monkeypatch)
    with pytest.raises(AssertionError, match=red):
        await test(database)


@pytest.mark.databases("postgresql")
async def test_the_engines_statement_that_is_not_last_is_missed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for what only PostgreSQL does."""
    mutants.with_the_engines_statement_first(monkeypatch)
    with pytest.raises(AssertionError, match=r"'done', 'running', \{\}"):
        await own.test_what_is_acknowledged_beside_a_users_statements_is_stored(database)


@pytest.mark.databases("mysql")
async def test_a_transaction_that_is_another_is_missed(
    database: Database, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for what only MySQL does."""
    mutants.without_savepoint(monkeypatch)
    await make_table(database)
    async with Engine(database.url, **QUICK) as engine:
        with pytest.raises(AssertionError, match="assert 2 == 3"):
            await cuts.test_of_two_that_deadlock_one_runs_again(engine, database, world, swallowed=True)
