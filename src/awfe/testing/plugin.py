"""Fixtures for pytest, which finds them by itself where awfe is installed."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from awfe.engine import Engine
from awfe.testing.clock import FakeClock

try:
    from pytest_asyncio import fixture as async_fixture
except ImportError:  # anyio, which comes with awfe, has a plugin too, and sees to plain ones
    async_fixture = pytest.fixture  # type: ignore[assignment]  # both take what is below


@pytest.fixture
def engine_options() -> dict[str, Any]:
    """Return what the `engine` of a test is made with, besides its database; override it in your conftest.py."""
    return {}


@async_fixture
async def engine(tmp_path: Path, engine_options: dict[str, Any]) -> AsyncIterator[Engine]:
    """Yield an open engine on an empty SQLite database of the test's own."""
    async with Engine(f"sqlite:///{tmp_path / 'awfe.db'}", **engine_options) as made:
        yield made


@async_fixture
async def clock(engine: Engine) -> AsyncIterator[FakeClock]:
    """Yield the clock of `engine`, which jumps over what workflows wait for."""
    async with FakeClock(engine) as made:
        yield made
