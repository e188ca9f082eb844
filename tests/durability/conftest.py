"""What these tests share: what is compiled, the server of the crash sweep's children, and whose turn it is."""

import gc
import zlib
from collections.abc import Iterator

import pytest

from tests.durability.compiled import make
from tests.durability.sweep_points import Forks, forking


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
