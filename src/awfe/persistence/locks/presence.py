"""Locks that are the life of an engine: which workflows a living engine holds stands in their rows, as their owner."""

from abc import ABC, abstractmethod

from awfe.persistence.locks.base import Held


class PresenceLocks(ABC):
    """What a file's lock and a lease have in common: one for each engine, whatever it runs."""

    def __init__(self, owner: str) -> None:
        """Hold workflows in the name of this owner."""
        self.owner = owner
        self.held: dict[int, PresenceLock] = {}

    async def take(self, workflow_id: int) -> "PresenceLock | None":
        """Hold a workflow: the engine's life stands for all of them, so what decides is the owner in the row."""
        if workflow_id in self.held:
            return None
        lock = self.held[workflow_id] = PresenceLock(self, workflow_id)
        return lock

    async def is_held(self, workflow_id: int, owner: str | None) -> bool:
        """Tell whether the owner lives and holds it."""
        if owner is None:
            return False
        return workflow_id in self.held if owner == self.owner else await self.lives(owner)

    @abstractmethod
    async def open(self) -> None:
        """Show that this engine lives."""

    @abstractmethod
    async def close(self) -> None:
        """Show that this engine is gone."""

    @abstractmethod
    async def lives(self, owner: str) -> bool:
        """Tell whether another engine lives."""

    @abstractmethod
    async def revive(self) -> None:
        """Show again that this engine lives."""


class PresenceLock(Held):
    """A workflow that this engine holds; lost while it is not certain that the others see the engine live."""

    def __init__(self, locks: PresenceLocks, workflow_id: int) -> None:
        """Held from now on."""
        super().__init__()
        self._locks = locks
        self._workflow_id = workflow_id

    async def regain(self) -> bool:
        """Return True when the engine is seen to live again; whether somebody came meanwhile, the token tells."""
        if self.is_lost:
            self.is_lost = False
            try:
                await self._locks.revive()
            except BaseException:
                self.is_lost = True
                raise
        return True

    async def release(self) -> None:
        """Hold it no longer."""
        self.forget()
        self._locks.held.pop(self._workflow_id, None)
