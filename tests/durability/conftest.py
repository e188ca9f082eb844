"""Long tests are not measured: they meet no line of awfe that others do not, and counting lines doubles their time."""

import zlib
from collections.abc import Iterator

import pytest
from coverage import Coverage

from tests.durability.sweep_points import Forks, forking

_LONG = {"cancel_sweep", "chaos", "commit_ambiguity", "crash_sweep", "fault_sweep", "many", "model", "takeover_blips"}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Stop measuring for as long as such a test lasts, and for what it starts."""
    measuring = Coverage.current()
    if measuring is None or item.path.stem.removeprefix("test_") not in _LONG:
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        measuring.stop()
        try:
            return (yield)
        finally:
            measuring.start()


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
