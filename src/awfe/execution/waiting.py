"""Workflows that wait, and whose end somebody in this engine awaits: no task, no lock, no connection for each."""

import asyncio
import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from awfe.domain.moves import By, Head
from awfe.errors import WorkflowPaused
from awfe.execution.result import Result

# A timer of asyncio's that is further away may overflow in the selector.
_FURTHEST = 3_600.0


@dataclass(frozen=True, slots=True)
class Waiter:
    """A workflow that waits here: who hears of it, and who asked for it to run."""

    name: str
    result: Result
    by: By


class Waiting:
    """What waits in this engine; one timer for all rings when the first is due."""

    def __init__(self, clock: Callable[[], datetime], ring: Callable[[], None]) -> None:
        """Begin with nothing."""
        self._clock = clock
        self._ring = ring
        self._waiters: dict[str, Waiter] = {}
        self._due: list[datetime] = []
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiters)

    def __iter__(self) -> Iterator[Waiter]:
        """Iterate over those who wait."""
        return iter(tuple(self._waiters.values()))

    def get(self, name: str) -> Waiter | None:
        """Return the one that waits for a workflow."""
        return self._waiters.get(name)

    def add(self, head: Head, result: Result, by: By) -> None:
        """Let somebody wait."""
        # The name that the result has anyway: the head's is a string of its own, which goes with the head.
        self._waiters[result.name] = Waiter(result.name, result, by)
        if head.wait is not None and head.wait.signal is not None:
            # It may have come before, and nobody rings for it again.
            self._ring()
        if head.due_at is not None:
            heapq.heappush(self._due, head.due_at)
            self._set_timer()

    def put_back(self, waiter: Waiter) -> None:
        """Let somebody wait who could not be woken."""
        self._waiters.setdefault(waiter.name, waiter)

    def pop(self, name: str) -> Waiter | None:
        """Return one who does not have to wait any more."""
        return self._waiters.pop(name, None)

    def close(self) -> None:
        """Tell all that nobody goes on here; their workflows wait on."""
        if self._timer is not None:
            self._timer.cancel()
        for waiter in self:
            del self._waiters[waiter.name]
            text = f"{waiter.name!r} waits, and its engine is closed; it goes on when it is run or recovered"
            waiter.result.set(WorkflowPaused(waiter.name, text))

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        seconds = (self._due[0] - self._clock()) / timedelta(seconds=1)
        self._timer = asyncio.get_running_loop().call_later(max(0.0, min(seconds, _FURTHEST)), self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._clock()
        if self._due[0] <= now:
            while self._due and self._due[0] <= now:
                heapq.heappop(self._due)
            self._ring()
        if self._due:
            self._set_timer()
