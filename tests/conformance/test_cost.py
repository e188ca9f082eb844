"""What a step costs, counted and not timed: statements, commits, bytes that are sent, and calls of Python functions.

The ceilings are recorded, a quarter or so above what was counted: who makes a step dearer finds out here, and says why.
`python -m benchmarks` measures time.
"""

import asyncio
import cProfile
import gc
import pstats
from typing import Any, NamedTuple

import pytest

from awfe import Context, Engine, step
from tests.conformance.counting import counting
from tests.databases import Database

STEPS = 10


class Cost(NamedTuple):
    """What one step of ten costs, with its share of the start and of the result."""

    statements: float
    commits: float
    sent: float
    calls: float


CEILINGS = {
    1: {
        "sqlite": Cost(2.1, 1.1, 1_500, 1_800),
        "mysql": Cost(2.4, 1.1, 1_670, 3_900),
        "postgresql": Cost(2.4, 1.1, 2_070, 2_020),
    },
    100: {
        "sqlite": Cost(0.2, 0.05, 450, 700),
        "mysql": Cost(0.25, 0.05, 500, 1_100),
        "postgresql": Cost(0.25, 0.05, 500, 720),
    },
    1_000: {
        "sqlite": Cost(0.1, 0.015, 550, 680),
        "mysql": Cost(0.15, 0.02, 550, 1_070),
        "postgresql": Cost(0.15, 0.02, 550, 700),
    },
}


@step(name="cost.count")
async def count(ctx: Context) -> None:
    """Change a small key."""
    ctx["n"] = ctx.get("n", 0) + 1


@pytest.mark.parametrize("workflows", CEILINGS)
async def test_a_step_costs_no_more_than_is_recorded(database: Database, workflows: int) -> None:
    settings: dict[str, Any] = {"locks": "shared", "max_running": workflows, "poll_interval": 600.0}
    async with Engine(database.url, lock_limit=120.0, **settings) as engine:
        names = [f"w{n}" for n in range(workflows)]
        for name in ("warm", *names):
            await engine.create_workflow(name, {}, [count() for _ in range(STEPS)])
        await engine.run("warm")
        with counting() as counted, cProfile.Profile() as profile:
            handles = await asyncio.gather(*map(engine.start, names))
            done = await asyncio.gather(*handles)
    assert [each.context for each in done] == [{"n": STEPS}] * workflows
    statements = sum(line not in ("BEGIN", "COMMIT", "ROLLBACK") for line in counted.lines)
    calls: int = pstats.Stats(profile).total_calls  # type: ignore[attr-defined]  # typeshed does not know it
    totals = (statements, counted.lines.count("COMMIT"), sum(counted.sent), calls)
    cost = Cost(*(total / (workflows * STEPS) for total in totals))
    print(f"{workflows} on {database.dialect}: {cost}")
    for found, ceiling, what in zip(cost, CEILINGS[workflows][database.dialect], Cost._fields, strict=True):
        assert found <= ceiling, what


async def test_a_step_leaves_nothing_for_the_collector(database: Database) -> None:
    """What is in a circle waits for a collection that looks at all that the process has."""
    async with Engine(database.url, poll_interval=600.0) as engine:
        names = [f"w{n}" for n in range(5)]
        for name in ("warm", *names):
            await engine.create_workflow(name, {}, [count() for _ in range(STEPS)])
        await engine.run("warm")
        gc.collect()
        gc.disable()
        try:
            for name in names:
                await engine.run(name)
            found = gc.collect()
        finally:
            gc.enable()
    print(f"{found} on {database.dialect}")
    assert found < len(names) * STEPS / 5, "a workflow leaves some"
