"""Long tests are not measured: they meet no line of awfe that others do not, and counting lines doubles their time."""

from collections.abc import Iterator

import pytest
from coverage import Coverage

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
