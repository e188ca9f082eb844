"""What locks of every kind can do."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol


class Held(ABC):
    """A lock that is held; `is_lost` while it is not certain that it still is."""

    def __init__(self) -> None:
        """Not lost yet."""
        self.is_lost = False
        self._on_loss: Callable[[], None] | None = None

    def watch(self, on_loss: Callable[[], None]) -> None:
        """Call this as soon as the lock is lost."""
        self._on_loss = on_loss
        if self.is_lost:
            on_loss()

    def lose(self) -> None:
        """Note that what it stands on is gone."""
        if not self.is_lost:
            self.is_lost = True
            if self._on_loss is not None:
                self._on_loss()

    def forget(self) -> None:
        """Tell nobody any more."""
        self._on_loss = None

    @abstractmethod
    async def regain(self) -> bool:
        """Lock again; False when somebody else has it."""

    @abstractmethod
    async def release(self) -> None:
        """Give the lock back; never fails, and must not be cut off."""


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
