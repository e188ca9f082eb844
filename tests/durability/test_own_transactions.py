"""What the protections are for where a step has a transaction of its own; `test_controls.py` takes them out."""

from contextlib import suppress
from dataclasses import dataclass

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from awfe import Context, Engine, TransactionalStep
from awfe.testing.invariants import violations
from tests.conformance.conftest import QUICK
from tests.conformance.steps import Note, World
from tests.conformance.transactional_steps import PayAtGate, make_table, paid
from tests.databases import Database
from tests.durability.two_engines import told, two

pytestmark = pytest.mark.databases("mysql", "postgresql")


@pytest.fixture(autouse=True)
def world() -> World:
    """Return what the steps of this test share."""
    World.now = World()
    return World.now


async def test_a_runner_that_was_taken_over_stores_no_row(database: Database) -> None:
    """Its step's own transaction is open while another engine takes the workflow over, and runs the step again."""
    await make_table(database)
    async with two(database) as engines:
        handle = await engines.start(PayAtGate("one"), until="one")
        await engines.cut_off_first("one")
        assert (await engines.second.recover()).started == ("w",)
        second = await engines.second.wait("w", 30)
        engines.proxy.thaw()
        first = await told(handle)
        # Without the fence it is only the unique key of the attempts that keeps its row out.
        assert await paid(database) == ["one"]
        assert (first, second.state) == ("LockLost", "completed")
        assert await violations(database.url) == []


async def test_a_pause_is_heeded_in_the_transaction_that_finds_it(database: Database) -> None:
    """The same for a step with a transaction of its own: what it wrote is stored, and its code does not run again."""
    await make_table(database)
    async with two(database) as engines:
        handle = await engines.start(PayAtGate("one", {"one": 1}), Note("two"), until="one")
        engines.proxy.freeze()
        await engines.second.pause("w")
        World.now.gates["one"].set()
        engines.proxy.thaw()
        first = await told(handle)
        assert await violations(database.url) == []
        workflow = await engines.second.get("w")
        assert (first, workflow.position, workflow.context) == ("WorkflowPaused", 2, {"one": 1})
        assert await paid(database) == ["one"]
        assert World.now.calls == ["one 1"]


@dataclass
class Swallow(TransactionalStep):
    """A statement of it fails, in code that swallows the error."""

    async def work(self, ctx: Context, session: AsyncSession) -> None:
        """Fail, and go on."""
        ctx["paid"] = True
        with suppress(DBAPIError):
            await session.execute(text("SELECT 1 / 0"))


@pytest.mark.databases("postgresql")
async def test_what_is_acknowledged_beside_a_users_statements_is_stored(database: Database) -> None:
    """PostgreSQL commits a transaction in which something failed to nothing, and says so to nobody."""
    async with Engine(database.url, **QUICK) as engine:
        await engine.create_workflow("w", {}, [Swallow()])
        acknowledged = await told(engine.run("w"))
        stored = await engine.get("w")
        assert (acknowledged, stored.state.value, stored.context) == ("StepError", "error", {})
