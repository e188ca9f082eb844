"""Calls to the database fail in all the ways that pass: what comes of a life is what comes of it undisturbed."""

import gc
import logging
from pathlib import Path

import pytest

from awfe.testing.invariants import violations
from tests.databases import Database
from tests.durability.scenarios import SCENARIOS
from tests.durability.sweep_faults import cases, fault_sweep, patched
from tests.durability.sweep_opening import OpeningSweep
from tests.durability.sweep_points import PLACES
from tests.durability.sweep_settings import LOCKS, LONG
from tests.durability.test_commit_ambiguity import FORGOTTEN

pytestmark = pytest.mark.long

# How many cases of each scenario, on each database.
COUNT = {"dedicated": 6, "shared": 3, "lease": 3, "none": 24, "made": 12}


@pytest.mark.parametrize("locks", LOCKS)
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_a_call_that_fails_and_passes_changes_nothing(  # noqa: PLR0917 - fixtures, which pytest gives by name
    database: Database,
    tmp_path: Path,
    scenario: str,
    locks: str,
    seed: int,
    turn: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if (database.dialect, locks) not in PLACES:
        pytest.skip("on SQLite it is the lock of every kind but the lease")
    if not LONG and locks != "dedicated" and (list(SCENARIOS).index(scenario) + turn + LOCKS.index(locks)) % 2:
        pytest.skip("its turn is in another run; AWFE_TEST_LONG=1 takes all")
    async with fault_sweep(database, tmp_path / "marks", scenario, locks, monkeypatch) as sweep:
        calls = await sweep.reference()
        chosen = cases(calls, database.dialect, COUNT[locks], seed)
        await sweep.sweep(chosen)
    print(f"{sweep.hit} of {len(chosen)} faults of {scenario} did something")
    assert not sweep.problems, "\n".join(sweep.problems)
    assert await violations(database.url, sweep.operator.names) == []
    assert await database.sessions(settle=10) == []
    assert sweep.files(tmp_path) == [], "no engine that was closed left a file beside the database"
    gc.collect()
    said = [record for record in caplog.records if record.levelno >= logging.ERROR]
    errors = [record.getMessage() for record in said if record.name.startswith(("asyncio", "sqlalchemy"))]
    assert [error for error in errors if FORGOTTEN not in error] == []
    assert sweep.hit >= len(chosen) * 0.8 - 1
    assert len(chosen) >= COUNT[locks]


async def test_the_moves_of_mates_are_committed_together(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what the sweeps disturb would be no batch; with leases, few transactions are of anything but moves."""
    async with fault_sweep(database, tmp_path / "marks", "batch", "lease", monkeypatch) as sweep:
        kinds = [call.kind for call in await sweep.reference()]
    assert kinds.count("commit") <= SCENARIOS["batch"].mates // 2


@pytest.mark.parametrize("tables", ["none", "made"])
async def test_opening_outlives_calls_that_fail(
    database: Database, tmp_path: Path, tables: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    patched(monkeypatch)
    sweep = OpeningSweep(database, empty=tables == "none", locks="dedicated", marks=tmp_path / "marks")
    calls = await sweep.reference()
    chosen = [case for case in cases(calls, database.dialect, COUNT[tables], seed) if case.times]
    hits = [await sweep.fail(case, monkeypatch) for case in chosen]
    print(f"{sum(hits)} of {len(hits)} faults of opening with {tables} did something")
    assert not sweep.problems, "\n".join(sweep.problems)
    assert await database.sessions(settle=10) == []
    assert sum(hits) >= 0.8 * len(hits)
