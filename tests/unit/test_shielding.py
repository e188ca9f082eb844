"""Awaiting to the end: whatever is cancelled meanwhile, the work is done."""

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import pytest

from awfe.shielding import cut_once, end, surely, to_the_end


class Work:
    """Something that ends when it is told to."""

    def __init__(self) -> None:
        """Begin with nothing done."""
        self.begun = 0
        self.done = 0
        self.end = asyncio.Event()

    async def __call__(self, result: str = "done") -> str:
        """Wait for the end."""
        self.begun += 1
        await self.end.wait()
        self.done += 1
        return result


async def turns(count: int = 5) -> None:
    """Let all others have some turns."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_the_result_is_returned() -> None:
    """And the error raised, when nothing is cancelled."""
    work = Work()
    work.end.set()
    assert await to_the_end(work("it")) == "it"

    async def fail() -> None:
        msg = "its own"
        raise ValueError(msg)

    with pytest.raises(ValueError, match="its own"):
        await to_the_end(fail())


async def test_a_cancellation_is_delivered_after_the_end() -> None:
    """However often it comes."""
    work = Work()
    task = asyncio.create_task(to_the_end(work()))
    for _ in range(3):
        await turns()
        task.cancel()
    await turns()
    assert not task.done()
    work.end.set()
    await asyncio.wait({task})
    assert task.cancelled()
    assert work.done == 1


async def test_a_cancellation_wins_over_an_error() -> None:
    """The error is not reported as forgotten."""
    end = asyncio.Event()

    async def fail() -> None:
        await end.wait()
        msg = "unheard"
        raise ValueError(msg)

    task = asyncio.create_task(to_the_end(fail()))
    await turns()
    task.cancel()
    await turns()
    end.set()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_what_is_cancelled_itself_is_a_cancellation() -> None:
    """As when a loop goes down and takes all tasks with it."""
    work = asyncio.ensure_future(Work()())
    task = asyncio.create_task(to_the_end(work))
    await turns()
    work.cancel()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_a_cancelled_scope_waits_for_the_end() -> None:
    """The cancellation of an anyio scope is delivered at the next await."""
    work = Work()
    reached: list[str] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        asyncio.get_running_loop().call_soon(work.end.set)
        reached.append(await to_the_end(work()))
        await anyio.lowlevel.checkpoint()
        reached.append("never")
    assert reached == ["done"]
    assert scope.cancelled_caught


async def test_what_is_cut_off_cleans_up_to_the_end() -> None:
    """A second cancellation does not reach it."""
    work, done = Work(), []

    async def clean_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            done.append(await work())

    task = asyncio.create_task(cut_once(clean_up()))
    for _ in range(3):
        await turns()
        task.cancel()
    await turns()
    assert work.begun == 1
    work.end.set()
    await asyncio.wait({task})
    assert task.cancelled()
    assert done == ["done"]


async def test_what_cannot_be_cut_off_any_more_is_cut_off_all_the_same() -> None:
    """And where it fails, that is not reported as forgotten."""

    async def fail() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            msg = "unheard"
            raise ValueError(msg) from None

    task = asyncio.create_task(cut_once(fail()))
    await turns()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_surely_tells_of_cancellations_instead_of_raising_them() -> None:
    """Each of them; the work is done once."""
    work, told = Work(), list[None]()
    task = asyncio.create_task(surely(work, lambda: told.append(None)))
    for _ in range(2):
        await turns()
        task.cancel()
    await turns()
    work.end.set()
    assert await task == "done"
    assert (len(told), work.begun, work.done) == (2, 1, 1)


async def test_surely_does_again_what_was_cut_off() -> None:
    """When the work's own task is cancelled, as a loop that goes down does."""
    work, told = Work(), list[None]()
    tasks: list[asyncio.Future[str]] = []

    def once() -> Awaitable[str]:
        tasks.append(asyncio.ensure_future(work()))
        return tasks[-1]

    task = asyncio.create_task(surely(once, lambda: told.append(None)))
    await turns()
    tasks[0].cancel()
    await turns()
    assert len(tasks) == 2
    work.end.set()
    assert await task == "done"
    assert (len(told), work.begun, work.done) == (1, 2, 1)


async def test_surely_raises_what_the_work_raises() -> None:
    """It is not done again for an error."""
    begun: list[None] = []

    async def fail() -> None:
        begun.append(None)
        msg = "its own"
        raise ValueError(msg)

    tell: Callable[[], None] = begun.clear
    with pytest.raises(ValueError, match="its own"):
        await surely(fail, tell)
    assert len(begun) == 1


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again() -> None:
    """As a driver's does, on Python 3.11, when a connection fails in the same moment."""
    swallowed = []

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                swallowed.append(True)
                if len(swallowed) > 2:
                    raise

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await end(task)
    assert task.cancelled()
    assert len(swallowed) == 3
