"""A fault sweep on one database: the same life again and again, with one call after the other that fails."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from awfe import AwfeError, Engine, StoreUnavailable
from awfe.testing.calls import Call, Calls
from awfe.testing.crashes import crash
from awfe.testing.faults import Fault, Faults
from tests.databases import Database
from tests.durability.sweep_actor import Actor
from tests.durability.sweep_facts import difference, facts_of
from tests.durability.sweep_operator import Operator
from tests.durability.sweep_settings import CHECKER, CHILD, LONG, bell_hangs
from tests.durability.sweep_steps import Stage

# Once; for a while, tries included; for ever.
TIMES = (1, 4, None)
# A call that hangs is given up after this, in these tests.
_SHORT = 0.3
_SETTLED = 5.0
_REFERENCES = 3
# For ever is for longer than the engine tries. What waits gives nothing up, and looks again when it is over.
_IMPATIENT = {"connect_retry_for": 0.1, "db_retry_for": 0.1, "poll_interval": 0.2}
_FOR_EVER = 0.5


@dataclass(frozen=True)
class Case:
    """One fault: at the n-th call, so many times."""

    fault: Fault
    number: int
    times: int | None

    @property
    def name(self) -> str:
        """Name it for a failure's report."""
        return f"{self.fault}-{self.number}-{self.times or 'forever'}"


class Pools:
    """Counts the connections of an engine that were opened and not closed again."""

    def __init__(self, engine: Engine) -> None:
        self.open = 0
        self.pools: list[Any] = []
        engine._database.on_engine.append(self._watch)

    def _watch(self, engine: AsyncEngine) -> None:
        """Count where it is done: a connection that could not be prepared gets none of the pool's events, or half."""
        pool: Any = engine.sync_engine.pool
        dialect: Any = engine.sync_engine.dialect
        self.pools.append(pool)
        connect, close = dialect.connect, pool._close_connection

        def connected(*args: Any, **kwargs: Any) -> Any:
            connection = connect(*args, **kwargs)
            self.open += 1
            return connection

        def closed(*args: Any, **kwargs: Any) -> None:
            # It is closed also where it was not told so in peace: what is cancelled there is its goodbye.
            self.open -= 1
            close(*args, **kwargs)

        dialect.connect, pool._close_connection = connected, closed


def patched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let retries come quickly: how long they wait is not what is tested."""
    monkeypatch.setattr("awfe.persistence.session._FIRST_PAUSE", 0.002)
    monkeypatch.setattr("awfe.persistence.session._LONGEST_PAUSE", 0.02)
    monkeypatch.setattr("awfe.persistence.locks.bells._FIRST_PAUSE", 0.002)
    monkeypatch.setattr("awfe.execution.tenure._PAUSE", 0.005)
    monkeypatch.setattr("awfe.execution.transactional._FIRST_PAUSE", 0.002)


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the engine give up soon what hangs."""
    monkeypatch.setattr("awfe.persistence.session._TRANSACTION_LIMIT", _SHORT)
    monkeypatch.setattr("awfe.persistence.session._LEAST_LIMIT", _SHORT)
    monkeypatch.setattr("awfe.persistence.session._CONNECT_LIMIT", _SHORT)
    monkeypatch.setattr("awfe.persistence.locks.named.NamedLocks.limit", _SHORT)
    monkeypatch.setattr("awfe.persistence.transaction._END_LIMIT", _SHORT)


class FaultSweep:
    """Lives one scenario with faults; `problems` has a sentence for all that was wrong."""

    def __init__(self, database: Database, engine: Engine, scenario: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hit = 0
        self.crashed: list[str] = []
        self.operator = Operator(engine, scenario, self._crash_in_a_step)
        self.problems = self.operator.problems
        self._database = database
        self._key = scenario
        self._monkeypatch = monkeypatch
        self._expected: Any = None

    async def reference(self) -> list[Call]:
        """Live undisturbed; returns the calls, and keeps what came of it for comparison."""
        # Who waits for a child on a busy machine looks more often: the shortest life has what is in all of them.
        count = _REFERENCES if self.operator.scenario.child else 1
        return min([await self._undisturbed(f"{self._key}-reference{n}") for n in range(count)], key=len)

    async def _undisturbed(self, name: str) -> list[Call]:
        await self.operator.prepare(name)
        calls, error = await self._live(name, None, self._monkeypatch)
        assert error is None
        self._expected = await self._facts(name)
        await self.operator.follow_up([name])
        return calls

    async def sweep(self, cases: Sequence[Case]) -> None:
        """Live once for each of these cases; those that have come to rest are followed up together."""
        rested: list[str] = []
        for case in cases:
            name = f"{self._key}-{case.name}"
            print(name)  # what hangs is the last that was printed
            await self.operator.prepare(name)
            with self._monkeypatch.context() as patches:
                _, error = await self._live(name, case, patches)
            if case.times is None:
                if error is not None and not isinstance(error, StoreUnavailable):
                    self.problems.append(f"{name}: raised {error!r}")
                await self.operator.follow_up([name])
                continue
            if error is not None:
                self.problems.append(f"{name}: raised {error!r}, caused by {error.__cause__!r}")
            elif (facts := await self._facts(name)) != self._expected:
                self.problems.append(f"{name}: {difference(facts, self._expected)}")
            rested.append(name)
            if self.operator.scenario.alone:
                await self.operator.follow_up([rested.pop()])
        await self.operator.follow_up(rested)

    async def _live(
        self, name: str, case: Case | None, patches: pytest.MonkeyPatch
    ) -> tuple[list[Call], AwfeError | None]:
        before = asyncio.all_tasks()
        patience = _IMPATIENT if case and case.times is None else {}
        scenario = self.operator.scenario
        locks = self.operator.engine.settings.locks
        engine = Engine(self._database.url, **{**CHILD, "locks": locks, **scenario.settings, **patience})
        calls, pools = Calls(engine), Pools(engine)
        await engine.open()
        await bell_hangs(engine, calls)
        actor = Actor(engine, name, scenario)
        await scenario.arrive(actor)
        calls.clear()
        faults = Faults(calls, case.fault, case.number, case.times) if case else None
        if case and case.fault in (Fault.HANG_BEFORE, Fault.HANG_AFTER):
            # Only from here on: a busy machine is to have the time to arrive.
            impatient(patches)
            _spare_steps(calls)
        healing = asyncio.create_task(_heal_when_all_wait(engine, faults)) if faults else None
        error: AwfeError | None = None
        try:
            await scenario.act(actor)
        except AwfeError as raised:
            error = raised
        if healing is not None:
            healing.cancel()
        for each in self.operator.family(name):
            Stage.now.gates[each].set()
        if case is None or case.times is not None:
            await self._rests(name, engine, pools)
        await engine.close()
        if faults is not None:
            faults.heal()
            self.hit += faults.hits > 0
        await self._all_given_back(name, pools, before)
        return calls.log, error

    async def _facts(self, name: str) -> dict[str, Any]:
        """Return what is comparable of a workflow, and of the one that it has begun."""
        has_child = self.operator.scenario.child is not None
        lives = [await self.operator.life(each) for each in self.operator.family(name)]
        facts = [facts_of(life, has_child=has_child) for life in lives]
        return {f"{what} of {n}": fact for n, each in enumerate(facts) for what, fact in each.items()}

    async def _rests(self, name: str, engine: Engine, pools: Pools) -> None:
        """See that nothing is kept for a workflow at rest, while the engine lives on."""
        if not engine._is_up or self._key == "fence":
            return
        dedicated = engine.settings.locks == "dedicated"
        kept = pools.pools[:2] if dedicated and self._database.dialect != "sqlite" else pools.pools[:1]
        if not await _comes_true(lambda: not any(pool.checkedout() for pool in kept)):
            self.problems.append(f"{name}: {[pool.checkedout() for pool in kept]} connections are not given back")
        if name in {head.name for head in await self.operator.engine._reads.running()}:
            self.problems.append(f"{name}: is running after all")

    async def _all_given_back(self, name: str, pools: Pools, before: set["asyncio.Task[Any]"]) -> None:
        if not await _comes_true(lambda: asyncio.all_tasks() <= before):
            self.problems.append(f"{name}: tasks are left: {asyncio.all_tasks() - before}")
        if pools.open:
            self.problems.append(f"{name}: {pools.open} connections were never closed")

    async def _crash_in_a_step(self, name: str) -> None:
        engine = Engine(self._database.url, **CHILD, locks=self.operator.engine.settings.locks)
        await engine.open()
        await self.operator.scenario.leave(Actor(engine, name, self.operator.scenario))
        self.crashed.append(engine._crew.owner.rpartition(":")[2])
        await crash(engine)

    def files(self, directory: Path) -> list[Path]:
        """Return the files that engines have left beside the database, but for what a crash was meant to leave."""
        found = directory.glob("*-awfe-*")
        return [path for path in found if not any(engine in path.name for engine in self.crashed)]


async def _heal_when_all_wait(engine: Engine, faults: Faults) -> None:
    control = engine._steering.control
    await asyncio.sleep(_FOR_EVER)
    while control or not len(control.waiting):
        await asyncio.sleep(0.1)
    faults.heal()


def _spare_steps(calls: Calls) -> None:
    """Let no statement of a step's own hang: how long one may take is for its policy `timeout` to say."""
    before = calls.before
    assert before is not None
    calls.before = lambda call: None if "sweep_paid" in call.statement else before(call)


async def _comes_true(condition: Any) -> bool:
    """Give what ends by itself the time to end."""
    try:
        async with asyncio.timeout(_SETTLED):
            while not condition():
                await asyncio.sleep(0.002)
    except TimeoutError:
        return False
    return True


def cases(calls: Sequence[Call], database: str, count: int, seed: int) -> list[Case]:
    """Return so many of all cases, of each fault and duration about as many; all when the long tests were asked for.

    A commit counts four times: there it matters most what was done and what was not.
    """
    chance = random.Random(seed)  # noqa: S311 - not a secret
    groups = []
    for fault in Fault:
        befallen = [call for call in calls if fault.befalls(database, call.kind)]
        if fault in (Fault.HANG_BEFORE, Fault.HANG_AFTER):
            befallen = [call for call in befallen if "sweep_paid" not in call.statement]
        weighed = befallen + 3 * [call for call in befallen if call.kind == "commit"]
        durations = TIMES if fault is not Fault.DELAY else TIMES[:1]
        groups += [[Case(fault, call.number, times) for call in weighed] for times in durations]
    if LONG:
        return list(dict.fromkeys(chain(*groups)))
    chance.shuffle(groups)
    found: list[Case] = []
    while len(found) < count and (groups := [group for group in groups if group]):
        # The first of the round is the last of the next one.
        group = groups.pop(0)
        found.append(chance.choice(group))
        groups.append([each for each in group if each != found[-1]])
    return found


@asynccontextmanager
async def fault_sweep(
    database: Database, marks: Path, scenario: str, locks: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[FaultSweep]:
    """Open what a sweep needs."""
    marks.mkdir()
    Stage.now = Stage(marks, holding=True)
    patched(monkeypatch)
    async with Engine(database.url, **CHECKER, locks=locks) as engine:
        yield FaultSweep(database, engine, scenario, monkeypatch)
