"""What is asked at the same time is done together, and each gets his own answer."""

import asyncio
import logging
import sys
from collections.abc import Sequence

import pytest

from awfe.errors import StoreUnavailable
from awfe.persistence import gathering
from awfe.persistence.gathering import Gathering

Question = tuple[int, str]


class Work:
    """Answers questions with themselves, when its gate is open; the first batch is waited for."""

    def __init__(self, most: int = 100) -> None:
        """Begin with a closed gate."""
        self.batches: list[list[Question]] = []
        self.gate = asyncio.Event()
        self.error: BaseException | None = None
        self.gathering: Gathering[Question, Question] = Gathering(self.do, logging.getLogger("awfe"), most)

    async def do(self, batch: Sequence[Question]) -> Sequence[Question]:
        """Wait for the gate."""
        self.batches.append(list(batch))
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return batch

    def ask(self, number: int, what: str = "", weight: int = 0) -> "asyncio.Task[Question | None]":
        """Ask about a workflow."""
        return asyncio.create_task(self.gathering.ask(number, (number, what), weight))


async def turns(count: int = 5) -> None:
    """Let all others have some turns."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_lone_one_goes_at_once_and_nothing_is_left() -> None:
    work = Work()
    work.gate.set()
    for number in (2, 1):
        assert await work.ask(number) == (number, "")
    assert work.batches == [[(2, "")], [(1, "")]]
    assert work.gathering._task is None


async def test_what_comes_meanwhile_goes_next_in_the_order_of_the_ids() -> None:
    work = Work()
    first = work.ask(9)
    await turns()
    others = [work.ask(number) for number in (3, 1, 2)]
    await turns()
    assert work.batches == [[(9, "")]]
    work.gate.set()
    assert await asyncio.gather(first, *others) == [(9, ""), (3, ""), (1, ""), (2, "")]
    assert work.batches[1:] == [[(1, ""), (2, ""), (3, "")]]


async def test_of_one_workflow_one_is_done_after_the_other() -> None:
    work = Work()
    work.gate.set()
    asked = [work.ask(1, "first"), work.ask(2, "other"), work.ask(1, "second"), work.ask(3, "later")]
    assert await asyncio.gather(*asked) == [(1, "first"), (2, "other"), (1, "second"), (3, "later")]
    assert work.batches == [[(1, "first"), (2, "other")], [(1, "second"), (3, "later")]]


async def test_a_batch_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "_MOST_BYTES", 10)
    work = Work(most=3)
    work.gate.set()
    weights = [1, 1, 1, 1, 8, 2, 11, 1]
    await asyncio.gather(*(work.ask(number, "", weight) for number, weight in enumerate(weights)))
    assert [[number for number, _ in batch] for batch in work.batches] == [[0, 1, 2], [3, 4], [5], [6], [7]]


async def test_who_is_cancelled_takes_nobody_with_him() -> None:
    work = Work()
    begun = work.ask(1)
    await turns()
    waiting = [work.ask(2), work.ask(3)]
    await turns()
    begun.cancel()
    waiting[0].cancel()
    await turns()
    assert begun.cancelled()
    work.gate.set()
    assert await waiting[1] == (3, "")
    assert waiting[0].cancelled()
    assert work.batches == [[(1, "")], [(3, "")]], "what has not begun is not done"


@pytest.mark.parametrize("error", [ValueError("one"), asyncio.CancelledError()])
async def test_each_asks_by_himself_where_anything_goes_wrong(error: BaseException) -> None:
    work = Work()
    work.error = error
    first = work.ask(1)
    await turns()
    others = [work.ask(2), work.ask(3)]
    await turns()
    work.gate.set()
    assert await asyncio.gather(first, *others) == [None, None, None]
    work.error = None
    assert await work.ask(1) == (1, "")


async def test_closing_waits_for_what_was_asked_by_those_who_are_gone() -> None:
    work = Work()
    await work.gathering.close()
    asked = work.ask(1)
    await turns()
    asked.cancel()
    closing = asyncio.create_task(work.gathering.close())
    await turns()
    assert not closing.done()
    work.gate.set()
    await closing
    assert work.gathering._task is None


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks that begin at once are new in 3.12")
async def test_a_loop_whose_tasks_begin_at_once_is_served_each_time() -> None:
    async def fail(_batch: Sequence[int]) -> Sequence[int]:
        msg = "gone"
        raise StoreUnavailable(msg)

    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]  # see above
    gathering: Gathering[int, int] = Gathering(fail, logging.getLogger("awfe"))
    async with asyncio.timeout(10):
        assert [await gathering.ask(number, number) for number in range(3)] == [None] * 3
