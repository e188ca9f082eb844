"""For SQLite: the life of an engine is a flock on a file of its own beside the database, its bell a socket there.

Needs a local file system. A process that is stopped keeps its flock, until it goes on or is killed.
"""

import asyncio
import fcntl
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from awfe.errors import StoreUnavailable
from awfe.persistence.locks.presence import PresenceLocks
from awfe.persistence.session import Database

_OWNER = re.compile(r"[^/]*:([0-9a-f]{16})")


def file_of(database: Database, owner: str, suffix: str = "") -> Path | None:
    """Return an engine's file; None for an owner that no engine has, whatever a row says."""
    match = _OWNER.fullmatch(owner)
    return match and Path(f"{database.url.database}-awfe-{match[1]}{suffix}")


class FileLocks(PresenceLocks):
    """The flock of one engine; its file is removed by the engine, or by the first that finds it dead."""

    def __init__(self, database: Database, owner: str) -> None:
        """Lock beside this database, in the name of this owner."""
        super().__init__(owner)
        file = file_of(database, owner)
        assert file is not None  # noqa: S101 - our own owner is well made
        self._database = database
        self._file = file
        self._descriptor: int | None = None

    async def open(self) -> None:
        """Show that this engine lives; raises `StoreUnavailable` where no file can be made beside the database."""
        try:
            self._descriptor = os.open(self._file, os.O_CREAT | os.O_RDONLY, 0o644)
        except OSError as error:
            msg = f"{self._database}: no lock can be kept beside it, its directory must be writable: {error}"
            raise StoreUnavailable(msg) from error
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    async def close(self) -> None:
        """Show that this engine is gone."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            _remove(self._file)
            os.close(descriptor)

    async def lives(self, owner: str) -> bool:
        """Tell whether another engine lives; a flock is freed by the system when its process ends."""
        file = file_of(self._database, owner)
        if file is None:
            return False
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        except OSError:
            # Somebody else's, that we may not look into: for all we know it lives.
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        _remove(file)
        return False

    async def revive(self) -> None:
        """Do nothing: a flock can't be lost."""


def _remove(file: Path) -> None:
    for each in (file, Path(f"{file}.bell")):
        with suppress(OSError):
            each.unlink()


class SocketBell:
    """A datagram socket in a file beside the database."""

    def __init__(self, database: Database, owner: str) -> None:
        """Hang it beside this database, in the name of this owner."""
        self._database = database
        self._owner = owner
        self._socket: socket.socket | None = None

    async def open(self, on_ring: Callable[[], None]) -> None:
        """Hang the bell."""
        mine = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            with self._address(self._owner) as address:
                mine.bind(address)
        except OSError as error:
            mine.close()
            self._database.log.warning("this engine can't be rung, it looks every poll_interval: %s", error)
            return
        self._socket = mine

        def heard() -> None:
            with suppress(BlockingIOError):
                while True:
                    mine.recv(1)
            on_ring()

        asyncio.get_running_loop().add_reader(mine, heard)

    async def close(self) -> None:
        """Take it down."""
        if self._socket is not None:
            mine, self._socket = self._socket, None
            asyncio.get_running_loop().remove_reader(mine)
            mine.close()
            with suppress(OSError):
                self._remove()

    def _remove(self) -> None:
        with self._address(self._owner) as address:
            Path(address).unlink()

    async def ring(self, owner: str) -> None:
        """Ring the bell of another engine; one that is not there, or not ours to ring, hears at its next poll."""
        with suppress(OSError):
            self._send(owner)

    def _send(self, owner: str) -> None:
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        with socket.socket(socket.AF_UNIX, kind) as ringer, self._address(owner) as address:
            try:
                ringer.sendto(b".", address)
            except ConnectionRefusedError:
                # Its engine is gone, and had no time to take it down.
                Path(address).unlink()

    @contextmanager
    def _address(self, owner: str) -> Iterator[str]:
        file = file_of(self._database, owner, ".bell")
        if file is None:
            raise FileNotFoundError(owner)
        # The address of a socket has room for some hundred bytes, a path may be longer: where the system shows
        # descriptors as files, the directory is named by one.
        directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            short = Path(f"/proc/self/fd/{directory}")
            yield str((short if short.exists() else file.parent) / file.name)
        finally:
            os.close(directory)
