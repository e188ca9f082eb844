"""What awfe does, measured: each function gets an empty database. Workflows are created before the clock runs."""

import asyncio
import gc
import statistics
import time
from typing import Any

from awfe import Context, Engine, step
from benchmarks.figures import Figure, measuring
from benchmarks.filling import fill

_LOOKS = 1_000


@step(name="benchmarks.count")
async def count(ctx: Context) -> None:
    """Change a small key."""
    ctx["n"] = ctx.get("n", 0) + 1


def opened(url: str, locks: str, at_once: int) -> Engine:
    """Return an engine that runs so many at once, and polls nothing."""
    settings: dict[str, Any] = {"locks": locks, "max_running": at_once, "lock_limit": 120.0}
    return Engine(url, poll_interval=3_600.0, **settings)


async def create(engine: Engine, names: list[str], steps: int, context: dict[str, Any] | None = None) -> None:
    """Create workflows of so many steps."""
    for name in names:
        await engine.create_workflow(name, context or {}, [count() for _ in range(steps)])


async def one_at_a_time(url: str, workflows: int, steps: int, context_bytes: int = 0) -> Figure:
    """Run one workflow after the other, each with a context of about so many bytes that no step touches."""
    context = {f"text{n}": "x" * 100 for n in range(context_bytes // 112)}
    async with opened(url, "dedicated", 1) as engine:
        names = [f"w{n}" for n in range(workflows)]
        await create(engine, ["warm"], 10)
        await create(engine, names, steps, context)
        await engine.run("warm")
        with measuring() as figure:
            for name in names:
                done = await engine.run(name)
                assert done.context["n"] == steps  # noqa: S101 - what is not done is not measured
    figure.count = workflows * steps
    return figure


async def at_once(
    url: str, workflows: int, steps: int, locks: str, *, finished: int = 0, threshold: int | None = None
) -> Figure:
    """Run workflows at the same time, in a database that has so many that are finished.

    `threshold`: after so many new objects Python's collector of garbage looks at them, and not by default.
    """
    if threshold is not None:
        gc.set_threshold(threshold)
    async with opened(url, locks, workflows) as engine:
        names = [f"w{n}" for n in range(workflows)]
        await create(engine, ["warm", *names], steps)
        await engine.run("warm")
        await fill(engine, "warm", finished)
        with measuring() as figure:
            handles = await asyncio.gather(*map(engine.start, names))
            for done in await asyncio.gather(*handles):
                assert done.context == {"n": steps}  # noqa: S101 - what is not done is not measured
    figure.count = workflows * steps
    return figure


async def lone(url: str, busy: int, steps: int) -> Figure:
    """Run workflows of one step one after the other, while others are busy; `more` has the latencies, in ms."""
    async with opened(url, "shared", busy + 1) as engine:
        names = [f"w{n}" for n in range(busy)]
        await create(engine, names, steps)
        await create(engine, [f"lone{n}" for n in range(_LOOKS)], 1)
        handles = await asyncio.gather(*map(engine.start, names))
        # All of them hold their locks by then: what is looked at is a step, not the rush at the beginning.
        while not (await engine.get(names[-1])).context:  # noqa: ASYNC110 - a workflow tells nobody of a step
            await asyncio.sleep(0.05)
        took: list[float] = []
        with measuring() as figure:
            while sum(handle.done() for handle in handles) < busy / 2 and len(took) < _LOOKS:
                began = time.perf_counter()
                await engine.run(f"lone{len(took)}")
                took.append((time.perf_counter() - began) * 1e3)
        for handle in handles:
            await handle
    figure.count = len(took)
    figure.more = {"p50_ms": statistics.median(took), "p99_ms": statistics.quantiles(took, n=100)[98]}
    return figure
