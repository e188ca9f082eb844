"""Options and fixtures that all tests share."""

import os
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from coverage import Coverage

from tests.databases import (
    DIALECTS,
    Database,
    MySQLDatabase,
    PostgreSQLDatabase,
    ServerDatabase,
    SQLite,
)
from tests.servers import ServerError, Servers
from tests.watchdog import Watchdog

SERVERS = pytest.StashKey[Servers]()
ON_SERVERS: dict[str, type[ServerDatabase]] = {kind.dialect: kind for kind in (MySQLDatabase, PostgreSQLDatabase)}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of this suite."""
    parser.addoption(
        "--databases",
        default=",".join(DIALECTS),
        metavar="NAMES",
        help="run the tests of `database` on these only (default: %(default)s)",
    )
    parser.addoption("--seed", type=int, metavar="N", help="repeat random tests with this seed")


def pytest_configure(config: pytest.Config) -> None:
    """Find the servers, in the process that the user started; workers inherit their URLs."""
    if unknown := set(_chosen(config)).difference(DIALECTS):
        msg = f"--databases: unknown {sorted(unknown)}, choose from {DIALECTS}"
        raise pytest.UsageError(msg)
    if not hasattr(config, "workerinput"):
        config.stash[SERVERS] = Servers()
    config.pluginmanager.register(Watchdog(float(config.getini("timeout"))))


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the servers, however the session ended."""
    if SERVERS in config.stash:
        config.stash[SERVERS].stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Stop measuring coverage for as long as an unmeasured test lasts, and for what it starts."""
    measuring = Coverage.current()
    if measuring is None or item.get_closest_marker("unmeasured") is None:
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        measuring.stop()
        try:
            return (yield)
        finally:
            measuring.start()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test of `database` on each one that was chosen and that its marker allows."""
    if "database" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("databases")
        allowed = marker.args if marker else DIALECTS
        names = [name for name in _chosen(metafunc.config) if name in allowed]
        metafunc.parametrize("database", names, indirect=True)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the servers that the collected tests need."""
    if not session.config.option.collectonly:
        _start_servers(session.config, (item.nodeid for item in session.items))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """Do the same under xdist, where only the workers collect."""
    _start_servers(node.config, ids)


@pytest.fixture(scope="session")
def on_servers() -> Mapping[str, type[ServerDatabase]]:
    """Return how a database is made on each kind of server."""
    return ON_SERVERS


@pytest.fixture
async def database(
    request: pytest.FixtureRequest, tmp_path: Path, on_servers: Mapping[str, type[ServerDatabase]]
) -> AsyncIterator[Database]:
    """Yield an empty database that no other test sees, on each kind in turn."""
    kind = on_servers.get(request.param)
    if kind and kind.variable not in os.environ:
        pytest.skip(f"no {kind.dialect} here, and {kind.variable} is not set")
    database = kind() if kind else SQLite(tmp_path / "awfe.db")
    await database.create()
    yield database
    await database.drop()


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Return the seed of a random test, and print it for the report of a failure."""
    given: int | None = request.config.getoption("--seed")
    chosen = secrets.randbits(32) if given is None else given
    print(f"repeat with --seed {chosen}")
    return chosen


def _chosen(config: pytest.Config) -> list[str]:
    option: str = config.getoption("--databases")
    return option.split(",")


def _start_servers(config: pytest.Config, ids: Iterable[str]) -> None:
    """Read from the ids what the tests need: they are all that xdist's controller knows of them."""
    if SERVERS in config.stash:
        parameters = {part for name in ids for part in name.partition("[")[2][:-1].split("-")}
        try:
            config.stash[SERVERS].start(parameters)
        except ServerError as error:
            pytest.exit(str(error), returncode=1)
