"""Steps that write rows of their own beside the engine's; `World` lets a test watch and hold them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from awfe import Context, Engine, TransactionalStep
from awfe.testing.calls import Call, Calls
from awfe.testing.faults import Fault, Faults
from tests.conformance.steps import World
from tests.databases import Database

PAY: Any = text("INSERT INTO paid (name) VALUES (:name)")


async def make_table(database: Database) -> None:
    """Make the table that they write to; nothing in it keeps a row from being there twice."""
    await database.execute("CREATE TABLE paid (name VARCHAR(80) NOT NULL)")
    await database.execute("CREATE TABLE taken (name VARCHAR(80) NOT NULL PRIMARY KEY)")


async def paid(database: Database) -> list[str]:
    """Return what was paid, in order."""
    return sorted(name for (name,) in await database.execute("SELECT name FROM paid"))


async def in_use(engine: Engine, count: int) -> None:
    """Return when so many data connections are in use: that of a poll is given back in a moment."""
    async with asyncio.timeout(10):
        while engine._database.engine.pool.checkedout() != count:  # type: ignore[attr-defined]  # a queue pool
            await asyncio.sleep(0.001)


@dataclass
class Pay(TransactionalStep):
    """Writes a row and changes the context."""

    name: str
    values: dict[str, Any] = field(default_factory=dict)

    async def work(self, ctx: Context, session: AsyncSession) -> None:
        """Pay, then wait for the gate when there is one."""
        World.now.calls.append(f"{self.name} {ctx.step.attempt}")
        assert "half" not in ctx
        ctx["half"] = True
        await session.execute(PAY, {"name": self.name})
        World.now.entered[self.name].set()
        if error := World.now.failing.get(self.name):
            raise error
        del ctx["half"]
        ctx.update(self.values)


@dataclass
class PayAtGate(Pay):
    """Waits in the middle of its transaction until the test opens its gate."""

    async def work(self, ctx: Context, session: AsyncSession) -> None:
        """Pay, and wait."""
        await super().work(ctx, session)
        await World.now.gates[self.name].wait()


Does = Callable[[Context, AsyncSession], Awaitable[object]]


@dataclass
class Doing(TransactionalStep):
    """Does what the test says."""

    does: ClassVar[Does]

    async def work(self, ctx: Context, session: AsyncSession) -> None:
        """Do it."""
        World.now.calls.append(f"doing {ctx.step.attempt}")
        return await type(self).does(ctx, session)  # type: ignore[return-value]  # what the test says


def doing(does: Does) -> Doing:
    """Return a step that does this."""
    Doing.does = staticmethod(does)
    return Doing()


def commits_of_steps_deadlock(engine: Engine) -> Faults:
    """Let all COMMITs of steps' transactions fail, until it is healed, and no other; for an engine that is not open."""
    calls = Calls(engine)
    faults = Faults(calls, Fault.DEADLOCK, 0, times=None)
    strike: Any = calls.before
    of_steps = set()

    def before(call: Call) -> None:
        if "SAVEPOINT awfe_step" in call.statement:
            of_steps.add(call.connection)
        if call.kind == "commit" and call.connection in of_steps:
            strike(call)

    calls.before = before
    return faults
