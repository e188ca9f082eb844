"""The end of a process, imitated in it: an engine is cut off from its database as kill -9 would do it."""

import asyncio
import ctypes
import os
import socket
import weakref
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, cast

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import PoolProxiedConnection

from awfe.domain.context import Context
from awfe.engine import Engine
from awfe.errors import StoreUnavailable
from awfe.execution.attempt import Attempt
from awfe.execution.gate import Gate
from awfe.execution.result import Result
from awfe.execution.runner import Run
from awfe.execution.tenure import Tenure
from awfe.execution.waiting import Waiting
from awfe.persistence.locks.sqlite import FileLocks

_PAUSE: Final = 0.1
_STATEMENTS: Final = ("do_execute", "do_executemany", "do_execute_no_params", "do_commit", "do_ping")
_ENDS: Final = ("do_rollback", "do_close", "do_terminate")
_OURS: Final = ("awfe.engine", "awfe.execution.", "awfe.persistence.")
_GONE: Final = "the engine has crashed"


async def crash(engine: Engine) -> None:
    """End an engine as kill -9 ends its process; returns when nothing of it is left but what it had committed.

    From the call on nothing of it reaches the database: its sockets are aborted, and the servers free its locks a
    moment later, as after a real kill; on SQLite its flock is free, and the file of it stays. Its tasks end and save
    nothing. The code of its steps is left where it stands: not even a `finally` runs, and what it holds in this process
    stays held; only tasks and threads that a step made by itself go on, and can save nothing either. A step may
    crash its own engine: then the call never returns.

    Verbs and runs that somebody still awaits raise `StoreUnavailable`, later verbs `EngineNotOpen`. `close()` does
    nothing any more. An engine can't be opened again after it: make a new one.
    """
    found = _Found(engine)
    found.cut_off()
    engine._is_up = False  # noqa: SLF001 - a dead engine has nothing to close
    # In a task of its own: it may be one of the engine's tasks that calls us.
    await asyncio.shield(asyncio.create_task(found.end(), name="crash"))


@dataclass
class _Found:
    """All that an engine consists of: whatever it has made is reachable from it."""

    engine: Engine
    engines: list[AsyncEngine] = field(default_factory=list)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    sockets: list[socket.socket] = field(default_factory=list)
    parts: list[Any] = field(default_factory=list)
    closing: list[asyncio.Future[Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        seen: dict[int, Any] = {}
        left: deque[Any] = deque([self.engine])
        while left:
            each = left.popleft()
            if id(each) not in seen:
                seen[id(each)] = each
                left.extend(self._sort(each))

    def _sort(self, each: Any) -> Iterable[Any]:
        """Put a thing where it belongs; returns what hangs on it."""
        if isinstance(each, AsyncEngine):
            self.engines.append(each)
        elif isinstance(each, asyncio.Task):
            self.tasks.add(each)
        elif isinstance(each, socket.socket):
            self.sockets.append(each)
        elif isinstance(each, Mapping):
            return each.values()
        elif isinstance(each, list | tuple | set | frozenset | deque):
            return each
        elif type(each).__module__.startswith(_OURS):
            self.parts.append(each)
            # What a caller gave us is his, and lives.
            return [value for name, value in _attributes(each) if name != "_given"]
        return ()

    def cut_off(self) -> None:
        """Let nothing reach the database any more; awaits nothing."""
        for part in self.parts:
            self._cut_part(part)
        for each in self.engines:
            self._cut(each)
        pools = {each.sync_engine.pool for each in self.engines}
        for finalizer in tuple(vars(weakref.finalize)["_registry"]):
            # SQLAlchemy's pools don't know what they have given out; the destructors of that do.
            alive = finalizer.peek()
            if alive and isinstance(alive[0], PoolProxiedConnection) and not pools.isdisjoint(_pools(alive[2])):
                self._abort(alive[0].driver_connection)
        for bell in self.sockets:
            asyncio.get_running_loop().remove_reader(bell)
            bell.close()

    @staticmethod
    def _cut_part(part: Any) -> None:
        if isinstance(part, Gate):
            part.is_open = False
        elif isinstance(part, Run):
            _rest(part)
        elif isinstance(part, Waiting):
            for waiter in part:
                _tell(waiter.result)
            part.close()
        elif isinstance(part, Tenure):
            # It would lock again.
            part._ended = True  # noqa: SLF001 - only its run ends it else, and that takes a while
        elif isinstance(part, FileLocks) and part._descriptor is not None:  # noqa: SLF001 - a clean close removes the file
            os.close(part._descriptor)  # noqa: SLF001 - see above
            part._descriptor = None  # noqa: SLF001 - see above

    def _cut(self, engine: AsyncEngine) -> None:
        pool, dialect = engine.sync_engine.pool, engine.sync_engine.dialect

        def refuse(*_args: Any, **_kwargs: Any) -> NoReturn:
            raise StoreUnavailable(_GONE)

        def abort(adapted: Any) -> None:
            self._abort(adapted.driver_connection)

        for name in _STATEMENTS:
            setattr(dialect, name, refuse)
        for name in _ENDS:
            setattr(dialect, name, abort)
        pool._creator = refuse  # noqa: SLF001 - the only door that is common to all ways to connect
        # A connection that is just being made.
        event.listen(pool, "connect", lambda adapted, _entry: abort(adapted), insert=True)
        pool.dispose()

    def _abort(self, driver: Any) -> None:
        """End a connection from this side, without a word to the server."""
        if driver is None:
            return
        if hasattr(driver, "terminate"):  # asyncpg, which would say that it goes
            driver._transport.abort()  # noqa: SLF001 - see above
            driver.terminate()
        elif hasattr(driver, "stop"):  # aiosqlite: its thread ends when the call that it is at has ended
            if driver._running:  # noqa: SLF001 - it can be stopped once
                self.closing.append(driver.stop())
        elif driver._writer is not None:  # noqa: SLF001 - aiomysql's close() sends what is still in the buffer
            driver._writer.transport.abort()  # noqa: SLF001 - see above
            driver.close()

    async def end(self) -> None:
        """End the tasks, and see the sockets closed."""
        for part in self.parts:
            if isinstance(part, Attempt):
                _leave(part)
        while pending := {task for task in self.tasks if not task.done()}:
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=_PAUSE)
        for task in self.tasks:
            if not task.cancelled():
                task.exception()
        for each in self.engines:
            each.sync_engine.pool.dispose()
        if self.closing:
            await asyncio.wait(self.closing)
        # A transport that was aborted closes its socket in the loop's next round.
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def _attributes(each: Any) -> Iterable[tuple[str, Any]]:
    yield from getattr(each, "__dict__", {}).items()
    for kind in type(each).__mro__:
        for name in getattr(kind, "__slots__", ()):
            if hasattr(each, name):
                yield name, getattr(each, name)


def _pools(arguments: tuple[Any, ...]) -> set[Any]:
    return {each for each in arguments if hasattr(each, "checkedout")}


def _rest(run: Run) -> None:
    """Tell those who await a run, and keep it from telling the log."""
    _tell(run.result)
    if not run.rested.done():
        run.rested.set_result(None)


def _tell(result: Result) -> None:
    result.awaited = True
    result.set(StoreUnavailable(_GONE))


def _leave(attempt: Attempt) -> None:
    """Leave a step's code where it stands: what goes on in its place only ends the task."""
    if attempt._body is not None and attempt.alive:  # noqa: SLF001 - nothing else holds a step
        led: Any = attempt._body.led  # noqa: SLF001 - see above
        # Never collected: that would run its `finally`.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(led._coroutine))  # noqa: SLF001 - see above
        led._coroutine = _Nothing()  # noqa: SLF001 - see above
    # What the step holds for ever is not to be the whole engine.
    attempt._crew, attempt._checkpoint = cast("Any", _Nothing()), _refuse  # noqa: SLF001 - see above


async def _refuse(_ctx: Context) -> None:
    raise StoreUnavailable(_GONE)


class _Nothing:
    """Stands where the code of a step stood, and where its engine stood."""

    def send(self, _value: Any) -> NoReturn:
        raise asyncio.CancelledError

    def throw(self, _error: BaseException) -> NoReturn:
        raise asyncio.CancelledError

    def close(self) -> None:
        pass

    def write_output(self, _text: str) -> None:
        pass
