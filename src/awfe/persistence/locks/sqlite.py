"""Locks for SQLite: the life of an engine is a flock on a file of its own, beside the database.

Which workflows a living engine holds stands in their rows, as their owner. Needs a local file system.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from awfe.persistence.session import Database


class FileLocks:
    """The flock of one engine; its file is removed by the engine, or by the first that finds it dead."""

    def __init__(self, database: Database, owner: str) -> None:
        """Lock beside this database, in the name of this owner."""
        self._path = str(database.url.database)
        self._owner = owner
        self._descriptor: int | None = None
        self.held: set[int] = set()

    async def open(self) -> None:
        """Show that this engine lives."""
        self._descriptor = os.open(self._file(self._owner), os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    async def close(self) -> None:
        """Show that this engine is gone."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            self._file(self._owner).unlink(missing_ok=True)
            os.close(descriptor)

    async def take(self, workflow_id: int) -> "FileLock | None":
        """Hold a workflow: the flock is held for all of them, so what decides is the owner in the row."""
        if workflow_id in self.held:
            return None
        self.held.add(workflow_id)
        return FileLock(self, workflow_id)

    async def is_held(self, workflow_id: int, owner: str | None) -> bool:
        """Tell whether the owner lives and holds it."""
        if owner is None:
            return False
        if owner == self._owner:
            return workflow_id in self.held
        file = self._file(owner)
        try:
            descriptor = os.open(file, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        with suppress(OSError):
            file.unlink()
        return False

    def _file(self, owner: str) -> Path:
        return Path(f"{self._path}-awfe-{owner.rpartition(':')[2]}")


class FileLock:
    """A workflow that this engine holds; a flock can't be lost."""

    def __init__(self, locks: FileLocks, workflow_id: int) -> None:
        """Held from now on."""
        self.lost = asyncio.Event()
        self._locks = locks
        self._workflow_id = workflow_id

    def watch(self, on_loss: Callable[[], None]) -> None:
        """Do nothing: it can't be lost."""

    async def regain(self) -> bool:
        """Return True: it is still held."""
        return True

    async def release(self) -> None:
        """Hold it no longer."""
        self._locks.held.discard(self._workflow_id)
