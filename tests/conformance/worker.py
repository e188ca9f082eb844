"""A program of its own that runs workflows, to be stopped and killed: `python -m tests.conformance.worker URL VERB …`.

Its steps leave their traces in files, so that another process sees what was done, and when.
"""

import asyncio
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awfe.steps  # noqa: F401 - the steps of workflows that a test has made
from awfe import BaseStep, Context, Engine
from tests.conformance import waiting_steps
from tests.conformance.steps import World


@dataclass
class Mark(BaseStep, name="tests.Mark"):
    """Adds a line to a file."""

    path: str
    text: str

    async def work(self, ctx: Context) -> None:
        """Add the line."""
        with Path(self.path).open("a") as file:
            file.write(f"{self.text} {os.getpid()} {ctx.step.attempt}\n")


@dataclass
class UntilThere(Mark, name="tests.UntilThere"):
    """Adds a line, and waits until another file is there."""

    async def work(self, ctx: Context) -> None:
        """Add the line and wait."""
        ctx["begun"] = ctx.step.attempt
        await ctx.checkpoint()
        ctx["unsaved"] = True
        await super().work(ctx)
        while not Path(f"{self.path}.{self.text}").exists():
            await asyncio.sleep(0.01)


@dataclass
class RerunUntilThere(UntilThere, name="tests.RerunUntilThere"):
    """The same, and may be repeated."""

    on_interrupt = "rerun"


@dataclass
class ItemUntilThere(BaseStep, name="tests.ItemUntilThere"):
    """Adds a line for an item, and waits until a file is there where the item is told to."""

    path: str
    on_interrupt = "rerun"

    async def work(self, ctx: Context) -> None:
        """Add the line; save it, too."""
        item = ctx["item"]
        ctx["begun"] = ctx.get("begun", 0) + 1
        await ctx.checkpoint()
        with Path(self.path).open("a") as file:
            file.write(f"{item} {ctx.step.key}\n")
        while item.startswith("wait") and not Path(f"{self.path}.{item}").exists():
            await asyncio.sleep(0.01)


@dataclass
class BlockUntilThere(Mark, name="tests.BlockUntilThere"):
    """Adds a line, and keeps the loop until another file is there."""

    async def work(self, ctx: Context) -> None:
        """Add the line and block."""
        await super().work(ctx)
        while not Path(f"{self.path}.{self.text}").exists():
            time.sleep(0.01)  # noqa: ASYNC251 - what is tested


async def abandon(url: str, name: str) -> None:
    """Leave the loop while a workflow runs, without closing the engine."""
    engine = Engine(url)
    await engine.open()
    print("open", flush=True)
    handle = await engine.start(name)
    async with asyncio.timeout(60):
        while "begun" not in (await engine.get(name)).context:
            await asyncio.sleep(0.01)
    print(handle.done(), flush=True)


async def serve(url: str, *names: str) -> None:
    """Be a service: take up what was left, start workflows, and close on SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with Engine(url, recover_every=0.2, takeover_delay=0.2) as engine:
        print("open", flush=True)
        handles = [await engine.start(name) for name in names]
        await ended.wait()
    print(len(handles), flush=True)


async def main(url: str, verb: str, *names: str) -> None:
    """Do one thing with an engine, and tell what came of it."""
    settings: dict[str, Any] = {"poll_interval": 0.05, "takeover_delay": 0.3}
    async with Engine(url, **settings) as engine:
        print("open", flush=True)
        if verb == "recover":
            recovered = await engine.recover()
            while engine.settings.locks == "lease" and not (recovered.started or recovered.refused):
                recovered = await engine.recover()
            print(recovered.to_dict(), flush=True)
            for name in names:
                print((await engine.wait(name)).state, flush=True)
            return
        if verb == "nap":
            World.now = World()
            assert waiting_steps.FAR
            await asyncio.gather(*[await engine.start(name) for name in names])
            return
        if verb == "rollback":
            World.now = World()
            for name in ("one", "two"):
                World.now.gates[f"undo {name}"].clear()
        if verb == "start":
            await asyncio.gather(*[await engine.start(name) for name in names])
            return
        for name in names:
            try:
                print((await getattr(engine, verb)(name)).state, flush=True)
            except Exception as error:  # noqa: BLE001 - the test looks at it
                print(type(error).__name__, error, flush=True)


if __name__ == "__main__":
    # A parent in the background of a shell hands SIGINT down as ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    database, what, *rest = sys.argv[1:]
    programs: dict[str, Any] = {"abandon": abandon, "serve": serve}
    asyncio.run(programs[what](database, *rest) if what in programs else main(database, what, *rest))
