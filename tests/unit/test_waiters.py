"""What waits in an engine, and for whom: one timer for all, by a clock that may be set."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from awfe.domain.moves import NOBODY
from awfe.execution.result import Result
from awfe.execution.waiting import Waiting
from tests.unit.heads import NOW, waiting


async def test_a_clock_that_was_set_back_is_waited_for() -> None:
    """The timer goes by the time that passes, and what is due by the clock."""
    now, rung = NOW, asyncio.Event()
    here = Waiting(lambda: now, rung.set)
    due = timedelta(seconds=0.02)
    here.add(replace(waiting(None), due_at=NOW + due), Result("w", logging.getLogger()), NOBODY)
    timer = here._timer
    assert timer is not None
    now = NOW - timedelta(seconds=0.02)
    while here._timer in (None, timer):
        await asyncio.sleep(0.005)
    assert not rung.is_set()
    now = NOW + due
    async with asyncio.timeout(10):
        await rung.wait()
    assert here._timer is None


async def test_one_timer_rings_for_each_that_is_due() -> None:
    rung: asyncio.Queue[datetime] = asyncio.Queue()
    here = Waiting(lambda: datetime.now(UTC), lambda: rung.put_nowait(datetime.now(UTC)))
    dues = [datetime.now(UTC) + timedelta(seconds=seconds) for seconds in (0.1, 0.02)]
    for name, due_at in zip("ab", dues, strict=True):
        here.add(replace(waiting(None), due_at=due_at), Result(name, logging.getLogger()), NOBODY)
    async with asyncio.timeout(10):
        assert await rung.get() >= dues[1]
        assert await rung.get() >= dues[0]
    assert here._timer is None


async def test_what_somebody_was_told_stands() -> None:
    result = Result("w", logging.getLogger())
    result.set(None)
    result.set(ValueError("later"))
    assert result.future.result() is None
