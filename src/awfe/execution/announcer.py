"""Tells observers what was committed, in order, and never lets them disturb a run."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable

from awfe.domain.records import Event
from awfe.domain.services import Log
from awfe.shielding import end

Observer = Callable[[Event], Awaitable[None] | None]


class Announcer:
    """A queue of events, and one task that hands them to the observers."""

    def __init__(self, log: Log) -> None:
        """Begin without observers."""
        self.observers: list[Observer] = []
        self._log = log
        self._queue: asyncio.Queue[Event] = asyncio.Queue()
        self._task: asyncio.Task[None]

    def tell(self, events: Iterable[Event]) -> None:
        """Queue events; costs nothing where nobody observes."""
        if self.observers:
            for event in events:
                self._queue.put_nowait(event)

    def open(self) -> None:
        """Begin to hand out."""
        self._task = asyncio.create_task(self._hand_out(), name="awfe observers")

    async def close(self, limit: float) -> None:
        """Hand out what is queued, for at most `limit` seconds, and end."""
        drained = asyncio.ensure_future(self._queue.join())
        await asyncio.wait({drained}, timeout=limit)
        for task in (drained, self._task):
            await end(task)

    async def _hand_out(self) -> None:
        while True:
            event = await self._queue.get()
            for observer in self.observers:
                try:
                    told = observer(event)
                    if inspect.isawaitable(told):
                        await told
                except asyncio.CancelledError:
                    # Ours only when we are asked to end; an observer may raise one too.
                    if (task := asyncio.current_task()) is not None and task.cancelling():
                        raise
                    self._log.warning("observer %r was cancelled at %s", observer, event.cause)
                except Exception:  # noqa: BLE001 - whatever it raises is not the run's concern
                    self._log.exception("observer %r failed at %s", observer, event.cause)
            self._queue.task_done()
