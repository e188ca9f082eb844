"""What locks of every kind can do."""

import asyncio
from collections.abc import Callable
from typing import Protocol


class Held(Protocol):
    """A lock that is held; `lost` is set while it is not certain that it still is."""

    lost: asyncio.Event

    def watch(self, on_loss: Callable[[], None]) -> None:
        """Call this as soon as the lock's connection is gone."""

    async def regain(self) -> bool:
        """Lock again on a new connection; False when some other session has it."""

    async def release(self) -> None:
        """Give the lock back; never fails."""


class Locks(Protocol):
    """The locks of one engine."""

    async def open(self) -> None:
        """Get ready."""

    async def close(self) -> None:
        """Give everything back."""

    async def take(self, workflow_id: int) -> Held | None:
        """Try to lock a workflow, without waiting; None when it is held elsewhere."""

    async def is_held(self, workflow_id: int, owner: str | None) -> bool:
        """Tell whether somebody holds the lock, without taking it."""
