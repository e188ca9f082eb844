"""A clock that stands still, and jumps over what workflows wait for: three days pass in milliseconds."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Final, Self

from sqlalchemy import select

from awfe.domain.moves import Head
from awfe.domain.states import ACTIVE, WorkflowState
from awfe.domain.waits import Wait, moment, seconds
from awfe.engine import Engine
from awfe.errors import InvalidInput, StoreUnavailable
from awfe.execution.runner import Run
from awfe.persistence import codec
from awfe.persistence.schema import workflow
from awfe.persistence.waiting import CHILD

# Real seconds between two looks whether all wait.
_LOOK: Final = 0.002


class FakeClock:
    """The clock of one or more engines, which stands still but for its jumps: `async with FakeClock(engine) as clock`.

    As soon as nothing runs in the engines any more, it jumps to when the first `Sleep`, `Until`, `Again` or delay
    before a retry is over. It does not jump over the timeout of `WaitFor` or of `Approval`, nor to `at=`: whether a
    signal comes first is the test's to say, with `advance()`. With `skips=False` it never jumps by itself. `start` is a
    time with a zone, by default now. A step's own `asyncio.sleep()`, its `timeout`, its `datetime.now()`, and what the
    engine does every few seconds (`recover_every`, `poll_interval`) go by the real clock. At the end of the block the
    engines have the real clock again. Raises `InvalidInput`.
    """

    def __init__(self, *engines: Engine, start: datetime | None = None, skips: bool = True) -> None:
        """Take the engines, open or not."""
        if not engines or not all(isinstance(engine, Engine) for engine in engines):
            msg = "FakeClock(engine, …): give the engines whose clock it is to be"
            raise InvalidInput(msg)
        if start is not None:
            moment("start", start)
        self.skips = skips
        self._now = (start or datetime.now(UTC)).astimezone(UTC)
        self._engines = engines
        self._jumping: asyncio.Task[None] | None = None

    @property
    def now(self) -> datetime:
        """What time it is, in UTC."""
        return self._now

    async def advance(self, by: float | timedelta) -> None:
        """Let so many seconds pass at once; workflows that may go on then do so."""
        passed = by.total_seconds() if isinstance(by, timedelta) else by
        await self._jump(self._now + timedelta(seconds=seconds("advance(by", passed)))

    async def __aenter__(self) -> Self:
        """Take the place of the real clock."""
        self._real = [engine._crew.clock for engine in self._engines]  # noqa: SLF001 - where an engine has its clock
        for engine in self._engines:
            engine._crew.clock = lambda: self._now  # noqa: SLF001 - see above
        self._jumping = asyncio.create_task(self._jump_again_and_again(), name="FakeClock")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the engines the real clock back; raises what kept this one from jumping."""
        for engine, real in zip(self._engines, self._real, strict=True):
            engine._crew.clock = real  # noqa: SLF001 - see above
        if self._jumping is not None:
            self._jumping.cancel()
            with suppress(asyncio.CancelledError):
                await self._jumping

    async def _jump_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            if self.skips:
                # A database that is away is the test's business, too.
                with suppress(StoreUnavailable):
                    await self._skip()

    async def _skip(self) -> None:
        """Jump to when the first that waits may go on, unless something may go on now."""
        if not self._all_wait():
            return
        before = [run.name for engine in self._engines for run in _runs(engine)]
        due = [run.head.due_at for engine in self._engines for run in _runs(engine)]
        for engine in self._engines:
            crew = engine._crew  # noqa: SLF001 - see above
            if not len(engine._steering.control.waiting):  # noqa: SLF001 - see above
                continue
            if await crew.waits.ready_here(crew.owner, self._now):
                await self._ring(engine)
                return
            due += [head.due_at for head in await _waiting(engine) if _is_skipped(head.wait)]
        times = [time for time in due if time is not None]
        still = before == [run.name for engine in self._engines for run in _runs(engine)]
        if times and still and self._all_wait():
            await self._jump(max(self._now, min(times)))

    def _all_wait(self) -> bool:
        """Tell whether each run only waits for its next attempt, the delay before it being short."""
        heads = [run.head for engine in self._engines for run in _runs(engine)]
        return all(head.state in ACTIVE and head.due_at is not None and not head.waits for head in heads)

    async def _jump(self, to: datetime) -> None:
        self._now = to
        for engine in self._engines:
            await self._ring(engine)

    @staticmethod
    async def _ring(engine: Engine) -> None:
        for run in _runs(engine):
            run.wake()
        await engine._steering.lookout.ring_for(engine._crew.owner)  # noqa: SLF001 - see above


def _runs(engine: Engine) -> Iterator[Run]:
    return iter(engine._steering.control)  # noqa: SLF001 - nothing else knows what runs


async def _waiting(engine: Engine) -> list[Head]:
    owner = engine._crew.owner  # noqa: SLF001 - see above
    query = select(workflow).where(workflow.c.waiter == owner, workflow.c.state == WorkflowState.WAITING.value)
    return await engine._reads.each(query, codec.head_of)  # noqa: SLF001 - see above


def _is_skipped(wait: Wait | None) -> bool:
    """Tell whether the end of a wait is what it waits for; a parent hears of its child by a signal."""
    return wait is None or (wait.kind in ("due", "again") and wait.signal != CHILD)
