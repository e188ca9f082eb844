"""What the crash sweep shares: the server of its children, and whose turn it is."""

import zlib
from collections.abc import Iterator

import pytest

from tests.durability.sweep_points import Forks, forking


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
