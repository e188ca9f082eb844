"""The steps that the checks run, and the gates by which a check watches and holds them."""

import asyncio
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, ClassVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from awfe.domain.context import Context
from awfe.domain.functions import step
from awfe.domain.step import TransactionalStep


class Gate:
    """What the steps of a check did; those that hold do so until it is opened. They find it by its key."""

    known: ClassVar[dict[str, "Gate"]] = {}

    def __init__(self) -> None:
        """Shut."""
        self.key = token_hex(8)
        self.calls: list[str] = []
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()
        self.known[self.key] = self


@step
async def note(_ctx: Context, gate: str, what: str = "note") -> None:
    """Note that it ran."""
    Gate.known[gate].calls.append(what)


@step
async def keep(ctx: Context, values: dict[str, Any], printed: str = "") -> None:
    """Save values, and print."""
    ctx.update(values)
    ctx.output(printed)


@step
async def hold(ctx: Context, gate: str) -> None:
    """Save a value, change another, and wait at the gate."""
    at = Gate.known[gate]
    at.calls.append("hold")
    ctx["saved"] = True
    await ctx.checkpoint()
    ctx["held"] = True
    at.entered.set()
    await at.opened.wait()


@dataclass
class Insert(TransactionalStep):
    """Writes a row beside awfe's own, and may fail then."""

    table: str
    fails: bool

    async def work(self, ctx: Context, session: AsyncSession) -> None:
        """Write it."""
        ctx["inserted"] = True
        await session.execute(text(f"INSERT INTO {self.table} (written) VALUES (1)"))  # noqa: S608 - a name of ours
        if self.fails:
            msg = "as the check wants it"
            raise RuntimeError(msg)
