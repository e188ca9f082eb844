"""Locks on the one connection of all: those that are asked for at the same time are asked for together."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine as SyncEngine

from awfe import Engine
from tests.conformance.conftest import OpenEngine

pytestmark = [pytest.mark.databases("mysql", "postgresql"), pytest.mark.parametrize("locks", ["shared"], indirect=True)]


@pytest.fixture
def asked() -> Any:
    """Yield the statements about locks, each with the number of locks in it."""
    seen: list[int] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        lower = statement.lower()
        if "_lock(" in lower or "advisory_" in lower:
            seen.append(lower.count("get_lock(") + lower.count("release_lock(") + lower.count("advisory_"))

    event.listen(SyncEngine, "before_cursor_execute", note)
    yield seen
    event.remove(SyncEngine, "before_cursor_execute", note)


async def test_many_are_taken_and_given_back_in_a_few_round_trips(
    engine: Engine, open_engine: OpenEngine, asked: list[int]
) -> None:
    other = await open_engine()
    theirs = await other._crew.locks.take(7)
    assert theirs is not None
    kept: Any = engine._crew.locks
    asked.clear()
    taken = await asyncio.gather(*(kept.take(number) for number in range(100)))
    assert [number for number, lock in enumerate(taken) if lock is None] == [7]
    assert sum(asked) == 100
    assert len(asked) <= 20, asked
    assert [await other._crew.locks.take(number) for number in (0, 50, 99)] == [None] * 3
    asked.clear()
    await asyncio.gather(*(lock.release() for lock in taken if lock is not None))
    assert sum(asked) == 99
    assert len(asked) <= 20, asked
    again = await other._crew.locks.take(50)
    assert again is not None
    await again.release()
    await theirs.release()


async def test_who_is_cancelled_in_the_line_asks_for_nothing(engine: Engine) -> None:
    """His lock would be nobody's; one of which the answer is on its way ends the connection, and with it the lock."""
    kept: Any = engine._crew.locks
    first = await kept.take(1)
    connection = first.connection
    keys = [kept.key(number) for number in (2, 3)]
    tasks = [asyncio.create_task(connection.ask(kept.server.take, [key], 5.0)) for key in keys]
    await asyncio.sleep(0)
    # The first asks by now, and the second stands in line.
    tasks[1].cancel()
    await asyncio.wait(tasks)
    assert tasks[0].result() == [True]
    assert tasks[1].cancelled()
    assert not connection.ended.is_set()
    assert await connection.ask(kept.server.release, keys, 5.0) == [True, False]
    late = asyncio.create_task(connection.ask(kept.server.take, keys[:1], 5.0))
    await asyncio.sleep(0)
    late.cancel()
    await asyncio.wait([late])
    assert connection.ended.is_set()
    with pytest.raises(ConnectionResetError):
        await connection.ask(kept.server.take, keys[:1], 5.0)
    await first.release()
