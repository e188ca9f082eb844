"""Opening that is disturbed, on an empty database and on one that has its tables."""

import asyncio
from pathlib import Path

import pytest

from awfe import Engine
from awfe.testing.calls import CRASHED, Call, Calls
from awfe.testing.faults import Fault, Faults
from tests.databases import Database, Rows
from tests.durability.sweep_child import Order
from tests.durability.sweep_faults import Case, Pools, impatient
from tests.durability.sweep_points import Forks, Point
from tests.durability.sweep_settings import CHILD, bell_hangs
from tests.durability.sweep_steps import Act, Stage

# What a half-made schema could lack: columns with their types, indexes, checks, the view.
_SHAPE = {
    "sqlite": ("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2",),
    "mysql": (
        (
            "SELECT table_name, column_name, column_type FROM information_schema.columns"
            " WHERE table_schema = DATABASE() ORDER BY 1, ordinal_position"
        ),
        (
            "SELECT table_name, index_name, column_name FROM information_schema.statistics"
            " WHERE table_schema = DATABASE() ORDER BY 1, 2, seq_in_index"
        ),
        (
            "SELECT table_name, constraint_name FROM information_schema.table_constraints"
            " WHERE table_schema = DATABASE() ORDER BY 1, 2"
        ),
    ),
    "postgresql": (
        (
            "SELECT table_name, column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = 'public' ORDER BY 1, ordinal_position"
        ),
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
        "SELECT conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1",
    ),
}
_TABLES = ("meta", "workflow", "step", "attempt", "event", "signal", "lease", "tombstone")


class OpeningSweep:
    """Disturbs the opening of engines on one database; `problems` has a sentence for all that was wrong."""

    def __init__(self, database: Database, *, empty: bool, locks: str, marks: Path) -> None:
        self.problems: list[str] = []
        # The numbers of the reference's calls that succeeded: after one that asks for what is not there, nothing ends.
        self.succeeded: set[int] = set()
        self._database = database
        self._empty = empty
        self._locks = locks
        self._marks = str(marks)
        marks.mkdir()
        Stage.now = Stage(marks, holding=False)
        self._shape: list[Rows] = []

    async def reference(self) -> list[Call]:
        """Open undisturbed; returns the calls, and keeps the shape of the tables for comparison."""
        async with self._engine():
            # Makes the tables.
            pass
        await self.prepare()
        engine = self._engine()
        calls = Calls(engine)
        calls.after = lambda call: self.succeeded.add(call.number)
        await engine.open()
        await bell_hangs(engine, calls)
        await engine.close()
        self._shape = await self._look()
        return calls.log

    async def crash(self, server: Forks, point: Point) -> bool:
        """Let a child open and crash at this point, and see what the next engine makes of it."""
        await self.prepare()
        status, _ = await server.order(Order(self._database.url, self._locks, self._marks, "open", "-", *point))
        assert status in (0, CRASHED), f"{point}: the child failed: see its traceback"
        async with self._engine() as engine:
            await self._check("-".join(map(str, point)), engine)
        return status == CRASHED

    async def fail(self, case: Case, monkeypatch: pytest.MonkeyPatch) -> bool:
        """Open with a fault."""
        await self.prepare()
        engine = self._engine()
        calls, pools = Calls(engine), Pools(engine)
        faults = Faults(calls, case.fault, case.number, case.times)
        before = asyncio.all_tasks()
        with monkeypatch.context() as patches:
            if case.fault in (Fault.HANG_BEFORE, Fault.HANG_AFTER):
                impatient(patches)
            async with asyncio.timeout(60), engine:
                faults.heal()
                await self._check(case.name, engine)
        if left := asyncio.all_tasks() - before:
            self.problems.append(f"{case.name}: tasks are left: {left}")
        if pools.open:
            self.problems.append(f"{case.name}: {pools.open} connections were never closed")
        return faults.hits > 0

    async def prepare(self) -> None:
        """Take the tables away, where that is what is swept."""
        if not self._empty:
            return
        await self._database.execute("DROP VIEW IF EXISTS awfe_step_state")
        for name in _TABLES:
            await self._database.execute(f"DROP TABLE IF EXISTS awfe_{name}")

    async def _check(self, what: str, engine: Engine) -> None:
        if (shape := await self._look()) != self._shape:
            self.problems.append(f"{what}: the tables are {shape}, not {self._shape}")
        if (rows := await self._database.execute("SELECT COUNT(*) FROM awfe_meta")) != [(1,)]:
            self.problems.append(f"{what}: awfe_meta has {rows} rows")
        await engine.create_workflow(what, {}, [Act({"a": 1})])
        if (context := (await engine.run(what)).context) != {"a": 1, "by1": 1}:
            self.problems.append(f"{what}: a workflow ends with {context}")

    async def _look(self) -> list[Rows]:
        return [await self._database.execute(sql) for sql in _SHAPE[self._database.dialect]]

    def _engine(self) -> Engine:
        return Engine(self._database.url, **CHILD, locks=self._locks)
