"""What waits in an engine: one timer for all, by a clock that may be set."""

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta

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
