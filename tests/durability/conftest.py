"""What these tests share: databases, what is compiled, the server of the sweep's children, and whose turn it is."""

import asyncio
import gc
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.databases import ReusedPostgreSQLDatabase, ServerDatabase
from tests.durability.compiled import make
from tests.durability.sweep_points import Forks, forking
from tests.durability.sweep_settings import LONG

# What takes longest; what were to begin last would still be running when all else is over.
LONGEST = (
    "test_the_verbs_do_what_the_contract_says",
    "test_nothing_is_lost_missing_or_done_twice",
    "test_killed_lock_connections_cost_no_healthy_workflow",
    "test_five_thousand_run_at_once_on_one_lock_connection",
    "test_without_the_token_a_frozen_runner_is_found_out",
    "test_a_crash_while_an_engine_opens_is_mended_by_the_next",
    "test_the_program_prints_a_report_and_leaves_nothing_behind",
)
# What a test has, in seconds, when all of a sweep was asked for.
_LONG_TIMEOUT = 6000


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the longest begin first: `--dist worksteal` gives each worker a block of the list to begin with."""
    if LONG:
        here = Path(__file__).parent
        for item in (item for item in items if item.path.is_relative_to(here)):
            item.add_marker(pytest.mark.timeout(_LONG_TIMEOUT), append=False)
    workers = getattr(config, "workerinput", {"workercount": 1})["workercount"]
    names = [getattr(item, "originalname", item.name) for item in items]
    order = sorted(range(len(items)), key=lambda n: LONGEST.index(names[n]) if names[n] in LONGEST else len(LONGEST))
    count = sum(name in LONGEST for name in names)
    longest, others = [items[n] for n in order[:count]], [items[n] for n in order[count:]]
    items.clear()
    for worker in range(workers):
        mine = longest[worker::workers]
        block = (count + len(others)) // (workers - worker)
        filled, others = others[: max(0, block - len(mine))], others[max(0, block - len(mine)) :]
        count -= len(mine)
        items += mine + filled


@pytest.fixture(scope="session")
def on_servers(on_servers: Mapping[str, type[ServerDatabase]]) -> Iterator[Mapping[str, type[ServerDatabase]]]:
    """Let a test on PostgreSQL have the database of an earlier one, emptied."""
    yield {**on_servers, ReusedPostgreSQLDatabase.dialect: ReusedPostgreSQLDatabase}
    asyncio.run(ReusedPostgreSQLDatabase.drop_spare())


@pytest.fixture(autouse=True)
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all engines share what they compile."""
    monkeypatch.setattr("awfe.persistence.session.create_async_engine", make)


@pytest.fixture(autouse=True, scope="module")
def frozen() -> Iterator[None]:
    """Look for garbage only among what these tests make, not each time among all that was imported and collected."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Return the server of the children of the crash sweep."""
    with forking() as server:
        yield server


@pytest.fixture
def turn(request: pytest.FixtureRequest, testrun_uid: str) -> int:
    """Return a number that all processes of one run share, so that they can share out what they look at."""
    given: int | None = request.config.getoption("--seed")
    chosen = zlib.crc32(testrun_uid.encode()) if given is None else given
    print(f"repeat with --seed {chosen}")
    return chosen
