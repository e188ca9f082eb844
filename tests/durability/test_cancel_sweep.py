"""Cancelling a caller at any await leaks no connection, no lock and no half-written state."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from awfe import Engine
from awfe.testing.cancels import Suspensions, suspensions
from awfe.testing.invariants import violations
from tests.conformance.steps import Note, World
from tests.databases import DIALECTS, Database
from tests.durability.cancel_verbs import VERBS, Verb, finish, goes_on, snapshot
from tests.durability.cancel_ways import (
    CUT,
    DONE,
    LIMIT,
    MANNERS,
    Manner,
    NewLoop,
    Trip,
    Watch,
    cut_off,
    shut_down,
)
from tests.durability.sweep_settings import LONG

pytestmark = pytest.mark.long

SETTINGS: dict[str, Any] = {
    "poll_interval": 0.1,
    "takeover_delay": 0.02,
    "stop_grace": 5.0,
    "shutdown_grace": 0.0,
    "connect_retry_for": 10.0,
    "db_retry_for": 10.0,
}
SHUT_DOWNS = 2
# Its multiples are spread as evenly as can be, whatever their number.
_GOLDEN = (5**0.5 - 1) / 2


class Sweep:
    """All cases of one verb on one database and one kind of loop, and what was wrong in any of them."""

    def __init__(
        self, url: str, verb: Verb, new_loop: NewLoop, turn: int, share: float = 0.5, locks: str = "dedicated"
    ) -> None:
        self.wrong: list[str] = []
        self.cases = 0
        self._url = url
        self._verb = verb
        self._new_loop = new_loop
        self._turn = turn
        self._share = share
        self._settings = {**SETTINGS, "locks": locks}
        self._names: list[str] = []
        self._pools: list[Any] = []
        self._awaits = 0
        self._not_at_all: object = None
        self._whole: object = None

    def run(self) -> None:
        """Run all cases, then bring all that they have left to its end with a fresh engine in a fresh loop."""
        with asyncio.Runner(loop_factory=self._new_loop) as runner:
            runner.run(self._cut_off())
        for number in self._points(SHUT_DOWNS):
            self._shut_down(f"shutdown at {number}", Trip(number))
        with asyncio.Runner(loop_factory=self._new_loop) as runner:
            runner.run(self._finish())

    def _points(self, most: int) -> Iterator[int]:
        """Yield so many of the verb's awaits, evenly spread, others each time; all of them in a long run."""
        count = self._awaits if LONG else min(self._awaits, max(1, round(most * self._share)))
        self._turn += 1
        first = self._turn * _GOLDEN % 1
        for index in range(count):
            yield 1 + int((index + first) * self._awaits / count)

    def _engine(self) -> Engine:
        engine = Engine(self._url, **self._settings)
        # The pool itself: an engine that is disposed of takes a new one.
        engine._database.on_engine.append(lambda made: self._pools.append(made.pool))
        engine.observer(_observe)
        return engine

    def _told(self, _loop: object, about: dict[str, Any]) -> None:
        """Take what nobody else has looked at."""
        # asyncpg opens a connection to cancel a statement, and when that is cut off in turn nobody looks at its end.
        if "unexpected connection_lost() call" not in str(about.get("exception")):
            self.wrong.append(f"the loop was told: {about}")

    async def _prepared(self, shared: Engine, name: str) -> Engine:
        World.now = World()
        engine = shared if self._verb.on == "shared" else self._engine()
        if self._verb.on == "open":
            await engine.open()
        await self._verb.prepare(engine, name)
        return engine

    async def _cut_off(self) -> None:
        asyncio.get_running_loop().set_exception_handler(self._told)
        async with self._engine() as shared:
            engine = await self._prepared(shared, "not at all")
            self._not_at_all = await self._came_to_rest(engine, shared, "not at all")
            for name in ("whole", "whole again", "whole once more"):
                engine = await self._prepared(shared, name)
                awaits = await suspensions(self._verb.act(engine, name))
                # There are more of them where the engine's poll has taken the connection at that moment.
                self._awaits = min(awaits, self._awaits or awaits)
                self._whole = await self._came_to_rest(engine, shared, name)
            for kind, manner in MANNERS.items():
                for number in self._points(manner.points):
                    await self._case(shared, f"{kind} at {number}", manner, number)

    async def _came_to_rest(self, engine: Engine, shared: Engine, name: str) -> object:
        """Let everything end that the case has begun, use the engine once more, and return what is stored."""
        World.now.gates["one"].set()
        if engine is not shared and self._verb.on == "open" and engine._is_up and self._awaits:
            self.wrong.append(f"{name}: it is not closed")
        await engine.open()
        async with asyncio.timeout(LIMIT):
            while any(engine._steering.control) or await goes_on(engine, name):
                await asyncio.sleep(0.001)
        await engine.create_workflow(f"{name}, after", {}, [Note("after")])
        await engine.run(f"{name}, after")
        if engine is not shared:
            await engine.close()
        return await snapshot(shared, name)

    async def _case(self, shared: Engine, name: str, manner: Manner, number: int) -> None:
        self._names.append(name)
        engine = await self._prepared(shared, name)
        before = asyncio.all_tasks()
        trip = Trip(number, manner.again, late=manner.late)
        came = await cut_off(self._verb.act(engine, name), manner.way, trip)
        left = await self._came_to_rest(engine, shared, name)
        self.cases += trip.fired > 0
        self.wrong += [
            f"{name}: {what}" for what in [*self._judged(came, left, strict=manner.strict and trip.fired > 0)]
        ]
        self.wrong += [f"{name}: {what}" for what in await self._leaks(shared, before)]

    def _judged(self, came: str | BaseException, left: Any, *, strict: bool) -> Iterator[str]:
        if came not in (CUT, DONE):
            yield f"it raised {came!r}"
        if came == DONE and strict:
            yield "it swallowed the cancellation"
        if came == DONE and left != self._whole:
            yield f"it was done, but left {left}"
        if left not in (self._not_at_all, self._whole) and not (left and left[0] in self._verb.between):
            yield f"it left {left}: neither {self._not_at_all} nor {self._whole}"

    async def _leaks(self, shared: Engine, before: set["asyncio.Task[Any]"]) -> list[str]:
        """Return what is still there after a while: tasks, connections, locks."""
        locks: Any = shared._crew.locks
        deadline = asyncio.get_running_loop().time() + 5
        while True:
            tasks = [f"a task is left: {task!r}" for task in asyncio.all_tasks() - before]
            pools = [f"checked out: {pool.status()}" for pool in self._in_use() if pool.size() > 2]
            held = [f"a lock is held: {locks.held}"] if locks.held else []
            found = tasks + pools + held
            if not found or asyncio.get_running_loop().time() > deadline:
                return found
            await asyncio.sleep(0.001)

    def _shut_down(self, name: str, trip: Trip) -> None:
        self._names.append(name)
        World.now = World()

        async def service(trip: Trip) -> object:
            asyncio.get_running_loop().set_exception_handler(self._told)
            engine = self._engine()
            if self._verb.on != "closed":
                await engine.open()
            try:
                await self._verb.prepare(engine, name)
                return await Suspensions(trip.at).follow(self._verb.act(engine, name))
            finally:
                await engine.close()

        shut_down(service, trip, self._new_loop)
        self.cases += trip.fired > 0
        self.wrong += [f"{name}: checked out: {pool.status()}" for pool in self._in_use()]

    def _in_use(self) -> list[Any]:
        """Return the pools with a connection in use; those of an open engine's bell and shared lock always have one."""
        return [pool for pool in self._pools if pool.checkedout()]

    async def _finish(self) -> None:
        World.now = World()
        World.now.gates["one"].set()
        async with Engine(self._url, **self._settings) as engine:
            for name in self._names:
                left: Any = await snapshot(engine, name)
                if left and left[0] == "running":
                    self.wrong.append(f"{name}: it was left running")
                await finish(engine, name)
            if self._verb.wrong is not None:
                self.wrong += await self._verb.wrong(engine, self._names)
        self.wrong += await violations(self._url, self._names)


async def _observe(_event: object) -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_is_cut_off(database: Database, verb: str, seed: int, turn: int) -> None:
    if not LONG and (list(VERBS).index(verb) + DIALECTS.index(database.dialect) + turn) % 2:
        pytest.skip("its turn is in another run; AWFE_TEST_LONG=1 takes all")
    _sweep(database, Sweep(database.url, VERBS[verb], asyncio.new_event_loop, seed))


@pytest.mark.parametrize(
    "verb",
    VERBS if LONG else ["open, empty", "run", "run, transactional", "run, waiting", "stop", "close"],
)
def test_a_verb_that_is_cut_off_on_uvloop(database: Database, verb: str, seed: int) -> None:
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed")
    # A part of them is enough: what differs is only who calls the callbacks.
    _sweep(database, Sweep(database.url, VERBS[verb], uvloop.new_event_loop, seed, 0.3))


@pytest.mark.parametrize("verb", ["run", "start", "close"])
@pytest.mark.parametrize("locks", ["shared", "lease"])
def test_a_run_with_locks_of_another_kind(database: Database, verb: str, locks: str, seed: int) -> None:
    if (database.dialect, locks) == ("sqlite", "shared"):
        pytest.skip("on SQLite it is the lock of every kind but the lease")
    _sweep(database, Sweep(database.url, VERBS[verb], asyncio.new_event_loop, seed, 0.3, locks))


def _sweep(database: Database, sweep: Sweep) -> None:
    with Watch() as watch:
        sweep.run()
    print(f"{sweep.cases} cases")
    assert sweep.wrong == []
    assert watch.found == []
    assert sweep.cases >= 5
    with asyncio.Runner() as runner:
        assert runner.run(database.sessions(settle=5)) == []


@pytest.mark.databases("mysql", "postgresql")
@pytest.mark.parametrize("way", ["cancel", "scope"])
async def test_a_verb_that_waits_for_a_row_is_cut_off_at_once(database: Database, way: str) -> None:
    async with Engine(database.url, **SETTINGS) as engine:
        await engine.create_workflow("w", {}, [Note("one")])
        async with database._engine.begin() as other:
            await other.execute(text("SELECT * FROM awfe_workflow FOR UPDATE"))
            trip = Trip(0)
            verb = asyncio.create_task(MANNERS[way].way(engine.update_context("w", {"a": 1}), trip))
            # Well before the server itself has waited for the row for long enough.
            async with asyncio.timeout(8):
                while not engine._database.engine.pool.checkedout():  # type: ignore[attr-defined]  # a queue pool
                    await asyncio.sleep(0.001)
                trip.fire()
                await asyncio.wait({verb})
            assert verb.cancelled() or verb.result() == CUT
        assert (await engine.get("w")).context == {}
