"""The ways in which a verb is cut off at one of its awaits, and the watch for what it may leave behind."""

import asyncio
import gc
import logging
import math
import sys
import warnings
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

from anyio import CancelScope, fail_after

from awfe.testing.cancels import Suspensions

# Nothing here takes a second; what takes so long hangs.
LIMIT: Final = 20.0
CUT: Final = "cut off"
DONE: Final = "done"


@dataclass
class Trip:
    """Fires at one suspension of a verb, and where `again` is given once more so many suspensions later.

    `late`: not in the await, but when what is awaited is done and its task has not gone on yet.
    """

    number: int
    again: int = 0
    late: bool = False
    fired: int = 0
    fire: Callable[[], object] = bool

    def at(self, number: int, awaited: Any) -> None:
        """Fire, when it is time."""
        if number == self.number or (self.again and number == self.number + self.again):
            self.fired += 1
            if self.late and awaited is not None:
                awaited.add_done_callback(lambda _done: self.fire())
            else:
                self.fire()


Verb = Coroutine[Any, Any, object]
Way = Callable[[Verb, Trip], Verb]
NewLoop = Callable[[], asyncio.AbstractEventLoop]


async def cancelled(verb: Verb, trip: Trip) -> object:
    """Cancel its task."""
    task = asyncio.current_task()
    assert task is not None
    trip.fire = task.cancel
    return await verb


async def in_scope(verb: Verb, trip: Trip) -> object:
    """Cancel a scope around it."""
    with CancelScope() as scope:
        trip.fire = scope.cancel
        return await verb
    return CUT


async def timed_out(verb: Verb, trip: Trip) -> object:
    """Let asyncio's timeout expire, by hand."""
    try:
        async with asyncio.timeout(None) as timeout:
            trip.fire = partial(_expire, timeout)
            return await verb
    except TimeoutError:
        return CUT


def _expire(timeout: asyncio.Timeout) -> None:
    if not timeout.expired():
        timeout.reschedule(0)


async def failed_after(verb: Verb, trip: Trip) -> object:
    """Let anyio's timeout expire, by hand."""
    try:
        with fail_after(3600) as scope:
            trip.fire = lambda: setattr(scope, "deadline", -math.inf)
            return await verb
    except TimeoutError:
        return CUT


@dataclass(frozen=True)
class Manner:
    """A way with what its trips have in common, and at how many awaits of a verb it is tried.

    `strict`: a verb that goes on regardless has swallowed the cancellation. The others arrive a moment later, when
    the verb may be over.
    """

    way: Way
    points: int
    again: int = 0
    late: bool = False
    strict: bool = False


MANNERS: Final = {
    "cancel": Manner(cancelled, 4, strict=True),
    "twice": Manner(cancelled, 1, again=1, strict=True),
    "twice, later": Manner(cancelled, 1, again=4, strict=True),
    "late": Manner(cancelled, 2, late=True),
    "scope": Manner(in_scope, 1),
    "timeout": Manner(timed_out, 1),
    "fail_after": Manner(failed_after, 1),
}


async def cut_off(verb: Verb, way: Way, trip: Trip) -> str | BaseException:
    """Run a verb in a task of its own, cut it off, and return what came of it."""
    task = asyncio.create_task(way(Suspensions(trip.at).follow(verb), trip))
    await asyncio.wait({task}, timeout=LIMIT)
    if not task.done():
        task.print_stack()
        return TimeoutError("it hangs")
    if task.cancelled():
        return CUT
    return task.exception() or (CUT if task.result() == CUT else DONE)


def shut_down(service: Callable[[Trip], Verb], trip: Trip, new_loop: NewLoop) -> None:
    """Run a service in a loop of its own that ends while the verb is in flight: all its tasks are cancelled.

    Raises what the service raised instead of being cancelled, and RuntimeError when it hangs.
    """

    async def main() -> "asyncio.Task[object]":
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        trip.fire = ended.set
        serving = loop.create_task(service(trip))
        serving.add_done_callback(lambda _serving: ended.set())
        loop.call_later(LIMIT, _give_up, loop)
        await ended.wait()
        return serving

    with asyncio.Runner(loop_factory=new_loop) as runner:
        serving = runner.run(main())
    if not serving.cancelled():
        serving.result()


def _give_up(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.print_stack()
    loop.stop()


class Watch(AbstractContextManager["Watch"]):
    """Collects what nobody awaited, closed or gave back, and each error that was only logged."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, kind, *_where: self.found.append(f"{kind.__name__}: {message}")
        hook, sys.unraisablehook = sys.unraisablehook, lambda about: self.found.append(f"unraisable: {about}")
        self._stack.callback(setattr, sys, "unraisablehook", hook)
        handler = _Handler(self.found)
        logging.getLogger().addHandler(handler)
        self._stack.callback(logging.getLogger().removeHandler, handler)
        return self

    def __exit__(self, *_error: object) -> None:
        gc.collect()
        self._stack.close()


class _Handler(logging.Handler):
    """Keeps errors, and all that asyncio and SQLAlchemy find worth a warning."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR or not record.name.startswith("awfe"):
            self._found.append(self.format(record))
