"""A process that runs one workflow and ends: `python -m benchmarks.first URL`. How long that takes is measured."""

import asyncio
import secrets
import subprocess
import sys

from awfe import Engine
from benchmarks.figures import Figure, measuring
from benchmarks.work import count


async def started(url: str, *, existing: bool) -> Figure:
    """Start the process; the tables are there where it is an existing database."""
    if existing:
        _start(url)
    with measuring() as figure:
        _start(url)
    figure.count = 1
    figure.more = {"start_ms": figure.seconds * 1e3}
    return figure


def _start(url: str) -> None:
    subprocess.run([sys.executable, "-m", "benchmarks.first", url], check=True)  # noqa: S603 - our own


async def _first(url: str) -> None:
    async with Engine(url) as engine:
        name = secrets.token_hex(8)
        await engine.create_workflow(name, {}, [count()])
        await engine.run(name)


if __name__ == "__main__":
    asyncio.run(_first(sys.argv[1]))
