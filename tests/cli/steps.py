"""Steps of runbooks that the tests of the command line run, in processes beside the test's own."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from awfe import BaseStep, Context, WaitFor


class Backup(BaseStep, name="cli.Backup"):
    """Has an undo."""

    async def work(self, ctx: Context) -> None:
        ctx["backup"] = f"before {ctx['version']}"

    async def undo(self, ctx: Context) -> None:
        ctx.output("backup removed\n")
        del ctx["backup"]


class Need(BaseStep, name="cli.Need"):
    """Fails until there is room."""

    async def work(self, ctx: Context) -> None:
        ctx["looked"] = True
        ctx.output("looking at the disk\n")
        if ctx["disk"] < 10:
            msg = f"only {ctx['disk']} GB free"
            raise RuntimeError(msg)


@dataclass
class Hold(BaseStep, name="cli.Hold"):
    """Says that it holds, and ends when a file is there."""

    file: str

    async def work(self, ctx: Context) -> None:
        ctx.output(f"holding for {Path(self.file).name}\n")
        while not Path(self.file).exists():
            await asyncio.sleep(0.01)


class Plain(BaseStep):
    """Has no name but the one that Python gives it."""

    async def work(self, ctx: Context) -> None:
        ctx["plain"] = True


class Ask(BaseStep, name="cli.Ask"):
    """Waits for a signal."""

    async def work(self, _ctx: Context) -> WaitFor:
        return WaitFor("go")


@dataclass
class Print(BaseStep, name="cli.Print"):
    """Prints lines, some of which try to steer the terminal."""

    lines: int

    async def work(self, ctx: Context) -> None:
        for number in range(self.lines):
            ctx.output(f"line {number} \x1b[2J\n")
