"""Several processes under fire, on each database: kills, freezes, cuts, deploys and crashes of the server.

In little; `python -m tests.durability.chaos_figures` does it for as long as you like, and AWFE_TEST_LONG=1 makes the
goals here ten times as high.
"""

import asyncio
import gc
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from awfe import BaseStep, Context, Engine
from awfe.testing.chaos import PACE, ChaosRefusedError, Plan, Report, run
from awfe.testing.chaos.__main__ import _command, main
from tests.databases import DIALECTS, Database
from tests.durability.chaos_figures import disturb
from tests.durability.sweep_settings import LONG
from tests.servers import KINDS, REQUIRE_ALL

# aiomysql does not close a connection that was reset while it was idle, and warns of it when it is collected.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TIMES = 10 if LONG else 1
GOALS = {"kills": 50, "stops": 5, "cuts": 15, "deploys": 3, "restarts": 3}
PROCESSES = 3
# What there is not on SQLite.
OF_SERVERS = ("cuts", "restarts")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Leave no such connection to a later test."""
    yield
    gc.collect()


def possible(request: pytest.FixtureRequest, name: str) -> None:
    """Skip what was not asked for, and what is not here."""
    if name not in request.config.getoption("--databases").split(","):
        pytest.skip("not asked for")
    kinds = [kind for kind in KINDS if kind.dialect == name]
    if kinds and not kinds[0].find():
        assert not REQUIRE_ALL, f"missing: {kinds[0].package}"
        pytest.skip(f"no program of {name} here to start a server of its own")


def passed(report: Report, goals: dict[str, int]) -> None:
    """See that everything was done, and that nothing was violated."""
    print(report.text())
    assert report.violations == []
    assert report.reached
    assert all(report.disturbances[kind] >= times for kind, times in goals.items())
    assert report.born >= PROCESSES + goals["kills"]
    assert report.takeovers > 0
    assert report.committed > report.workflows > 0
    assert len({verb for verb, what in report.verbs if what == "done"}) > 5


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", DIALECTS, ids=str.upper)
async def test_nothing_is_lost_missing_or_done_twice(request: pytest.FixtureRequest, name: str, seed: int) -> None:
    """On servers of their own, with their default durability, that are killed and started again on the same data."""
    possible(request, name)
    goals = {kind: times * TIMES for kind, times in GOALS.items() if name != "sqlite" or kind not in OF_SERVERS}
    report = await disturb(name, seed, 240 * TIMES, processes=PROCESSES, goals=goals)
    passed(report, goals)
    # On SQLite a frozen process keeps its lock, and what it runs is refused until it goes on.
    assert (report.refusals > 0) == (name == "sqlite")


async def found_out(plan: Plan) -> Report:
    """Return the report of a run that must go wrong; what it kept to be looked at needs nobody."""
    report = await run(plan)
    print(report.text())
    assert report.violations
    assert report.files is not None
    await asyncio.to_thread(shutil.rmtree, report.files)
    return report


# Few kills, and freezes as soon as possible.
FREEZING = {**PACE, "kills": (2.0, 4.0), "stops": (0.2, 0.5)}


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_without_the_fence_the_checker_bites(database: Database, seed: int) -> None:
    """A control: what a runner writes is conditional on nothing but the workflow."""
    await found_out(Plan(url=database.url, seed=seed, seconds=120, guards=(), until_violation=True))


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.databases("mysql", "postgresql")
async def test_without_the_token_a_frozen_runner_is_found_out(database: Database, seed: int) -> None:
    """A control: requests are heeded, but whoever was taken over writes on."""
    plan = Plan(url=database.url, seed=seed, seconds=120, guards=("request",), until_violation=True, pace=FREEZING)
    report = await found_out(replace(plan, lanes=8, freeze=(4.0, 5.0)))
    assert any("was made twice" in each or "fencing token" in each for each in report.violations)


class Nothing(BaseStep, name="tests.chaos.Nothing"):
    """Does nothing."""

    async def work(self, ctx: Context) -> None:
        """Do nothing."""


async def test_a_database_with_workflows_is_refused(database: Database, seed: int) -> None:
    """They would be run and changed."""
    async with Engine(database.url) as engine:
        await engine.create_workflow("mine", {}, [Nothing])
        with pytest.raises(ChaosRefusedError, match="1 workflows"):
            await run(Plan(url=database.url, seed=seed, seconds=1))
        report = await run(Plan(url=database.url, seed=seed, seconds=2, reuse=True))
        assert report.violations == []
        assert (await engine.get("mine")).state == "pending"
        assert len(await engine.list(limit=1000)) == report.workflows + 1


def test_the_program_prints_a_report_and_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a user runs it; the second time the database is not empty."""
    files = tmp_path / "files"
    files.mkdir()
    monkeypatch.setenv("TMPDIR", str(files))
    monkeypatch.setattr("tempfile.tempdir", str(files))
    arguments = ["--url", f"sqlite:///{tmp_path}/awfe.db", "--seconds", "3", "--seed", "7", "--processes", "2"]
    assert main([*arguments, "--json"]) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert "repeat with --seed 7" in printed.err
    assert (report["seed"], report["processes"], report["violations"]) == (7, 2, [])
    assert list(files.iterdir()) == []
    assert main(arguments) == 2
    assert "ChaosRefusedError" in capsys.readouterr().err
    assert main([*arguments, "--reuse"]) == 0
    assert "violations           0" in capsys.readouterr().out


async def test_a_restart_command_that_fails_is_told(tmp_path: Path, seed: int) -> None:
    """The server may be gone then; the report comes all the same."""
    await _command(f"{sys.executable} -c pass")()
    with pytest.raises(ChaosRefusedError, match="status 3"):
        await _command(f"{sys.executable} -c 'raise SystemExit(3)'")()
    restart = _command(f"{sys.executable} -c 'raise SystemExit(3)'")
    pace = {**PACE, "restarts": (0.1, 0.2)}
    url = f"sqlite:///{tmp_path}/awfe.db"
    plan = Plan(url=url, seed=seed, seconds=2, restart=restart, pace=pace, goals={"restarts": 1})
    report = await found_out(plan)
    assert any("status 3" in each for each in report.violations)
    assert not report.reached
