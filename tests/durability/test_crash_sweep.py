"""A process ends before and after every call to its database: what it was told is stored, and nothing is done twice."""

from pathlib import Path

import pytest

from awfe.testing.invariants import violations
from tests.databases import Database
from tests.durability.scenarios import SCENARIOS
from tests.durability.sweep_opening import OpeningSweep, opening_forks
from tests.durability.sweep_points import chosen, crash_sweep
from tests.durability.sweep_settings import LOCKS

pytestmark = pytest.mark.unmeasured

# Every run looks at another part, and AWFE_TEST_LONG=1 at all.
SHARE = {"dedicated": 2, "shared": 4, "lease": 4, "none": 3, "made": 1}
# Calls of the shortest scenario, both before and after.
LEAST = 6


@pytest.mark.timeout(600)
@pytest.mark.parametrize("locks", LOCKS)
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_a_crash_at_any_call_loses_nothing(
    database: Database, tmp_path: Path, scenario: str, locks: str, seed: int
) -> None:
    async with crash_sweep(database, tmp_path / "marks", scenario, locks) as sweep:
        points = chosen(await sweep.points(), SHARE[locks], seed)
        await sweep.sweep(points)
    print(f"{sweep.swept} of {len(points)} points of {scenario} swept")
    assert not sweep.operator.problems, "\n".join(sweep.operator.problems)
    assert await violations(database.url, sweep.operator.names) == []
    assert sweep.swept >= len(points) * 0.9
    assert len(points) * SHARE[locks] >= LEAST


@pytest.mark.timeout(600)
@pytest.mark.parametrize("tables", ["none", "made"])
async def test_a_crash_while_an_engine_opens_is_mended_by_the_next(
    database: Database, tmp_path: Path, tables: str, seed: int
) -> None:
    sweep = OpeningSweep(database, empty=tables == "none", locks="lease")
    async with opening_forks(database, tmp_path / "marks", "lease") as server:
        points = await sweep.points()
        swept = [await sweep.crash(server, point) for point in chosen(points, SHARE[tables], seed)]
    print(f"{sum(swept)} of {len(points)} points of opening with {tables} swept")
    assert not sweep.problems, "\n".join(sweep.problems)
    assert sum(swept) >= 0.9 * len(swept)
