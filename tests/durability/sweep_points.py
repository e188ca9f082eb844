"""A crash sweep on one database: children that die at each call, and an operator who finds what they left."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from pathlib import Path

from awfe import Engine
from awfe.testing.calls import CRASHED, When
from tests.databases import DIALECTS, Database
from tests.durability.sweep_child import Order
from tests.durability.sweep_operator import Operator
from tests.durability.sweep_settings import CHECKER, LOCKS, LONG
from tests.durability.sweep_steps import Stage

Point = tuple[int, When]
# So many workflows are brought to the point of their crash before they are looked at together.
_BATCH = 24
# On SQLite one lock is that of every kind but the lease.
PLACES = tuple((each, locks) for each in DIALECTS for locks in LOCKS if (each, locks) != ("sqlite", "shared"))


class Forks:
    """The server that forks a child for each order; one is enough for all tests of a process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    async def order(self, order: Order) -> tuple[int, list[str]]:
        """Let a child live; returns its exit status, and the kinds of its calls when it lived to the end."""
        status, kinds = await asyncio.to_thread(self._ask, order)
        return status, kinds

    def _ask(self, order: Order) -> tuple[int, list[str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the server of the children is gone"
        status, kinds = json.loads(answer)
        return status, kinds


@contextmanager
def forking() -> Iterator[Forks]:
    """Run the server of the children. Coverage would only slow down what ends without writing any."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.durability.sweep_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env=environ,
    ) as process:
        try:
            yield Forks(process)
        finally:
            process.kill()


class CrashSweep:
    """Crashes one scenario at its calls; `operator.problems` has a sentence for all that was wrong."""

    def __init__(self, database: Database, engine: Engine, server: Forks, scenario: str, marks: Path) -> None:
        self.swept = 0
        self.operator = Operator(engine, scenario, self._crash_in_a_step)
        self._forks = server
        self._scenario = scenario
        self._about = (database.url, engine.settings.locks, str(marks))

    async def calls(self) -> list[str]:
        """Return the kinds of all calls of a life without a crash."""
        name = f"{self._scenario}-whole"
        await self.operator.prepare(name)
        status, kinds = await self._forks.order(Order(*self._about, self._scenario, name))
        assert status == 0, "undisturbed, it must live"
        left = (await self.operator.left()).get(name)
        assert (left and left.state) == self.operator.scenario.after
        await self.operator.follow_up([name])
        return kinds

    async def sweep(self, points: Sequence[Point]) -> None:
        """Crash at these points, and check what is left."""
        # What recovers takes up all that it finds: there each point is alone.
        size = 1 if self.operator.scenario.alone else _BATCH
        for first in range(0, len(points), size):
            batch = {f"{self._scenario}-{n}-{when}": (n, when) for n, when in points[first : first + size]}
            await asyncio.gather(*map(self.operator.prepare, batch))
            for name, point in batch.items():
                status, _ = await self._forks.order(Order(*self._about, self._scenario, name, *point))
                assert status in (0, CRASHED), f"{name}: the child failed: see its traceback"
                self.swept += status == CRASHED
            await self.operator.follow_up(list(batch))

    async def _crash_in_a_step(self, name: str) -> None:
        status, _ = await self._forks.order(Order(*self._about, f"orphan:{self._scenario}", name))
        assert status == CRASHED


@asynccontextmanager
async def crash_sweep(
    database: Database, marks: Path, scenario: str, locks: str, server: Forks
) -> AsyncIterator[CrashSweep]:
    """Open what a sweep needs."""
    marks.mkdir()
    Stage.now = Stage(marks, holding=False)
    await server.order(Order(database.url, locks, str(marks), "warm"))
    async with Engine(database.url, **CHECKER, locks=locks) as engine:
        yield CrashSweep(database, engine, server, scenario, marks)


def chosen(kinds: Sequence[str], place: int, places: int, turn: int, succeeded: Collection[int] = ()) -> list[Point]:
    """Return the points that fall to one of so many places: each call's number falls to one of them, others each turn.

    A commit is crashed before and after it, another call on one side: after it is as before the next. All when the
    long tests were asked for. `succeeded` are the calls with an after, where that is not all.
    """
    points: list[Point] = []
    for number, kind in enumerate(kinds, 1):
        if LONG or (number + turn) % places == place:
            both = LONG or kind == "commit"
            before = both or (number + turn // places) % 2
            after = both or not before
            points += [(number, "before")] if before else []
            points += [(number, "after")] if after and (not succeeded or number in succeeded) else []
    return points
