"""Bells: who has stored a request for another engine rings there, so that it looks at once and not at its next poll.

A bell is only a hint. One that can't hang or can't be rung is told of once in the log, and the poll does without it.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from awfe.errors import AwfeError
from awfe.persistence import faults
from awfe.persistence.locks.connection import LockConnection, Server, lock_engine
from awfe.persistence.session import Database
from awfe.shielding import end, to_the_end

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_PATIENCE = 1.0


class Bell(Protocol):
    """The bell of this engine, and the way to those of others."""

    async def open(self, on_ring: Callable[[], None]) -> None:
        """Hang the bell."""

    async def close(self) -> None:
        """Take it down."""

    async def ring(self, owner: str) -> None:
        """Ring the bell of another engine; never fails."""


class ServerBell:
    """A bell that hangs on a connection of its own to a server."""

    def __init__(self, database: Database, server: Server, instance: str, owner: str) -> None:
        """Hang it at this database's server, in the name of this owner."""
        self._database = database
        self._server = server
        self._instance = instance
        self._name = server.bell(instance, owner)
        self._silent: set[str] = set()
        self._tried = asyncio.Event()
        self._engine: AsyncEngine
        self._hanging: asyncio.Task[None]

    async def open(self, on_ring: Callable[[], None]) -> None:
        """Hang the bell; where that takes long, in the background."""
        self._engine = lock_engine(self._database, self._server, 1)
        self._hanging = asyncio.create_task(self._hang(self._engine, on_ring), name="awfe bell")
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await self._tried.wait()

    async def close(self) -> None:
        """Take it down."""
        await end(self._hanging)
        await self._database.dispose(self._engine)

    async def ring(self, owner: str) -> None:
        """Ring the bell of another engine; never fails."""

        async def work(connection: AsyncConnection) -> None:
            await self._server.ring(connection, self._server.bell(self._instance, owner))

        try:
            await self._database.write(work, 0)
        except AwfeError as error:
            self._tell_once("other engines can't be rung, they look every poll_interval", error)

    async def _hang(self, engine: AsyncEngine, on_ring: Callable[[], None]) -> None:
        pause, again = _FIRST_PAUSE, False
        while True:
            try:
                await self._hang_once(engine, on_ring, again=again)
                pause, again = _FIRST_PAUSE, True
            except Exception as error:  # noqa: BLE001 - whatever it is, the poll does without a bell
                self._tell_once("this engine can't be rung, it looks every poll_interval", error)
                self._tried.set()
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _hang_once(self, engine: AsyncEngine, on_ring: Callable[[], None], *, again: bool) -> None:
        """Return when the connection has ended: that is a ring on some servers, and may hide one on all."""
        interval = self._database.settings.lock_heartbeat
        connection = await LockConnection.open(engine, self._server, on_ring, interval)
        try:
            await self._server.hang(connection, self._name, on_ring)
            self._tried.set()
            if again:
                # Somebody may have rung while it did not hang.
                on_ring()
            while not connection.ended.is_set():
                try:
                    async with asyncio.timeout(interval):
                        await connection.ended.wait()
                except TimeoutError:
                    await connection.beat(interval)
        finally:
            await to_the_end(connection.drop())

    def _tell_once(self, what: str, error: Exception) -> None:
        if what not in self._silent:
            self._silent.add(what)
            self._database.log.warning("%s: %s: %s", self._database, what, faults.brief(error))
