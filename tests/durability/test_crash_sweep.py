"""A process ends before and after every call to its database: what it was told is stored, and nothing is done twice."""

from pathlib import Path

import pytest

from awfe.testing.invariants import violations
from tests.databases import DIALECTS, Database
from tests.durability.scenarios import SCENARIOS
from tests.durability.sweep_opening import OpeningSweep
from tests.durability.sweep_points import PLACES, Forks, chosen, crash_sweep
from tests.durability.sweep_settings import LOCKS, LONG

pytestmark = pytest.mark.long

# Of so many tests one has its turn in a run of all.
RUNS = 1 if LONG else 4


@pytest.mark.timeout(600)
@pytest.mark.parametrize("locks", LOCKS)
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_a_crash_at_any_call_loses_nothing(
    database: Database, tmp_path: Path, scenario: str, locks: str, forks: Forks, turn: int
) -> None:
    if (database.dialect, locks) not in PLACES:
        pytest.skip("on SQLite it is the lock of every kind but the lease")
    place = PLACES.index((database.dialect, locks))
    if (list(SCENARIOS).index(scenario) + place + turn) % RUNS:
        pytest.skip("its turn is in another run; AWFE_TEST_LONG=1 takes all")
    async with crash_sweep(database, tmp_path / "marks", scenario, locks, forks) as sweep:
        kinds = await sweep.calls()
        points = chosen(kinds, place, len(PLACES), turn // RUNS)
        await sweep.sweep(points)
    print(f"{sweep.swept} of {len(points)} points at {len(kinds)} calls of {scenario} swept")
    assert not sweep.operator.problems, "\n".join(sweep.operator.problems)
    assert await violations(database.url, sweep.operator.names) == []
    # What is done at the same time is not always done in the same order; the last calls may not come.
    assert sweep.swept >= len(points) * 0.8 - 1


@pytest.mark.timeout(600)
@pytest.mark.parametrize("tables", ["none", "made"])
async def test_a_crash_while_an_engine_opens_is_mended_by_the_next(
    database: Database, tmp_path: Path, tables: str, forks: Forks, turn: int
) -> None:
    sweep = OpeningSweep(database, empty=tables == "none", locks="lease", marks=tmp_path / "marks")
    calls = await sweep.reference()
    points = chosen([call.kind for call in calls], DIALECTS.index(database.dialect), 3, turn, sweep.succeeded)
    swept = [await sweep.crash(forks, point) for point in points]
    print(f"{sum(swept)} of {len(points)} points at {len(calls)} calls of opening with {tables} swept")
    assert not sweep.problems, "\n".join(sweep.problems)
    assert sum(swept) >= 0.9 * len(swept)
