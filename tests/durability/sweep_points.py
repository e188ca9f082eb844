"""A crash sweep on one database: children that die at each call, and an operator who finds what they left."""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from awfe import Engine
from awfe.testing.calls import CRASHED
from tests.databases import Database
from tests.durability.scenarios import Stage
from tests.durability.sweep_operator import Operator
from tests.durability.sweep_settings import CHECKER

Point = tuple[int, str]
# So many workflows are brought to the point of their crash before they are looked at together.
_BATCH = 24


class Forks:
    """The server that forks a child for each order."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def order(self, scenario: str, name: str, number: int = 0, when: str = "before") -> tuple[int, int]:
        """Let a child live; returns its exit status, and the number of its calls when it lived to the end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{scenario} {name} {number} {when}\n".encode())
        answer = await self._process.stdout.readline()
        assert answer, "the server of the children is gone"
        status, calls = answer.split()
        return int(status), int(calls)


@asynccontextmanager
async def forks(url: str, marks: Path, locks: str) -> AsyncIterator[Forks]:
    """Run the server of the children. Coverage would only slow down what ends without writing any."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.durability.sweep_child", url, str(marks), locks),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env=environ,
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n", "the server of the children did not start"
        yield Forks(process)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


class CrashSweep:
    """Crashes one scenario at its calls; `operator.problems` has a sentence for all that was wrong."""

    def __init__(self, database: Database, engine: Engine, server: Forks, scenario: str) -> None:
        self.swept = 0
        self.operator = Operator(database, engine, scenario, self._crash_in_a_step)
        self._forks = server
        self._scenario = scenario

    async def points(self) -> list[Point]:
        """Return all points: before and after each call of a life without a crash."""
        name = f"{self._scenario}-whole"
        await self.operator.prepare(name)
        status, calls = await self._forks.order(self._scenario, name)
        assert status == 0, "undisturbed, it must live"
        left = (await self.operator.left()).get(name)
        assert (left and left.state) == self.operator.scenario.after
        await self.operator.follow_up([name])
        return [(number, when) for number in range(1, calls + 1) for when in ("before", "after")]

    async def sweep(self, points: Sequence[Point]) -> None:
        """Crash at these points, and check what is left."""
        # What recovers takes up all that it finds: there each point is alone.
        size = 1 if self.operator.scenario.prepared == "orphan" else _BATCH
        for first in range(0, len(points), size):
            batch = {f"{self._scenario}-{n}-{when}": (n, when) for n, when in points[first : first + size]}
            await asyncio.gather(*map(self.operator.prepare, batch))
            for name, point in batch.items():
                status, _ = await self._forks.order(self._scenario, name, *point)
                assert status in (0, CRASHED), f"{name}: the child failed: see its traceback"
                self.swept += status == CRASHED
            await self.operator.follow_up(list(batch))

    async def _crash_in_a_step(self, name: str) -> None:
        status, _ = await self._forks.order(f"orphan:{self._scenario}", name)
        assert status == CRASHED


@asynccontextmanager
async def crash_sweep(database: Database, marks: Path, scenario: str, locks: str) -> AsyncIterator[CrashSweep]:
    """Open what a sweep needs: the server of the children first, which also makes the tables."""
    marks.mkdir()
    Stage.now = Stage(marks, holding=False)
    async with (
        forks(database.url, marks, locks) as server,
        Engine(database.url, **CHECKER, locks=locks) as engine,
    ):
        yield CrashSweep(database, engine, server, scenario)


def chosen(points: Sequence[Point], share: int, seed: int) -> list[Point]:
    """Return one in `share` of the points, in order; all when the long tests were asked for."""
    if share == 1 or os.environ.get("AWFE_TEST_LONG") == "1":
        return list(points)
    return sorted(random.Random(seed).sample(points, max(1, len(points) // share)))  # noqa: S311 - not a secret
