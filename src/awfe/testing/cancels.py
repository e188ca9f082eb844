"""Cancelling at an exact await: the n-th time that a coroutine, or a task that it has started, is suspended."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_following: ContextVar["Suspensions | None"] = ContextVar("awfe_testing_following", default=None)


class Suspensions:
    """Counts the suspensions of a coroutine, and of all tasks that are started in its course, until it ends.

    `at` is called at each of them with its number, from 1, and what is awaited: a future, or None for `sleep(0)`. It
    is called in the task that is about to be suspended; a task that it cancels there is cancelled in that await.
    """

    def __init__(self, at: Callable[[int, Any], None] | None = None) -> None:
        """Follow nothing yet."""
        self.count = 0
        self.over = False
        self._at = at

    def follow(self, coroutine: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        """Return a coroutine that does the same and is followed; to be called in the loop that will run it.

        Its tasks are followed through the loop's task factory, which stays in place and calls the one that was there.
        """
        loop = asyncio.get_running_loop()
        if not isinstance(present := loop.get_task_factory(), _Factory):
            loop.set_task_factory(_Factory(present))
        return _Followed(coroutine, self, is_root=True)

    def _suspended(self, awaited: Any) -> None:
        if not self.over:
            self.count += 1
            if self._at is not None:
                self._at(self.count, awaited)


async def suspensions(coroutine: Coroutine[Any, Any, Any]) -> int:
    """Run a coroutine to its end, and return how often it was suspended; raises what it raises."""
    counted = Suspensions()
    await counted.follow(coroutine)
    return counted.count


async def cancel_at(number: int, coroutine: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
    """Run a coroutine in a task of its own, cancel that at the given suspension, and return it when it has ended.

    Cancelled itself, it cancels the task and does not wait for it.
    """

    def at(count: int, _awaited: Any) -> None:
        if count == number:
            task.cancel()

    task = asyncio.create_task(Suspensions(at).follow(coroutine))
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        raise
    return task


class _Followed(Coroutine[Any, Any, T], Generic[T]):
    """Drives a coroutine and tells of each suspension."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], suspensions: Suspensions, *, is_root: bool = False) -> None:
        self._coroutine = coroutine
        self._suspensions = suspensions
        self._is_root = is_root

    def send(self, value: Any) -> Any:
        return self._resume(self._coroutine.send, value)

    def throw(self, *error: Any) -> Any:
        return self._resume(self._coroutine.throw, *error)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, T]:
        return self

    def __iter__(self) -> "_Followed[T]":
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def __getattr__(self, name: str) -> Any:
        # What debuggers and task dumps look at: cr_frame, cr_code, __qualname__, …
        return getattr(self._coroutine, name)

    def _resume(self, how: Callable[..., Any], *args: Any) -> Any:
        token = _following.set(self._suspensions)
        try:
            awaited = how(*args)
            self._suspensions._suspended(awaited)  # noqa: SLF001 - the two halves of one thing
        except BaseException:
            self._suspensions.over = self._suspensions.over or self._is_root
            raise
        else:
            return awaited
        finally:
            _following.reset(token)


class _Factory:
    """A task factory that follows the tasks which are started by what is followed."""

    def __init__(self, previous: Callable[..., Any] | None) -> None:
        self._make = previous or _new_task

    def __call__(self, loop: asyncio.AbstractEventLoop, coroutine: Any, /, **options: Any) -> Any:
        followed = _following.get()
        if followed is not None and not followed.over:
            coroutine = _Followed(coroutine, followed)
        return self._make(loop, coroutine, **options)


def _new_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
    return asyncio.Task(coroutine, loop=loop, **options)
