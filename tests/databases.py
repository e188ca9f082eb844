"""A database of its own for each test, and ways to look into it behind the engine's back."""

import asyncio
import os
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from tests.servers import MySQL, PostgreSQL

Rows = list[tuple[Any, ...]]


class Database(ABC):
    """One database; its helpers connect anew for each call and share nothing with the engine."""

    dialect: ClassVar[str]

    def __init__(self, url: URL) -> None:
        self.url = url.render_as_string(hide_password=False)
        self._engine = create_async_engine(url, poolclass=NullPool)

    async def execute(self, sql: str, params: Mapping[str, Any] | None = None) -> Rows:
        """Run one statement, with `:name` parameters, in a transaction of its own."""
        return await execute(self._engine, sql, params)

    async def sessions(self, *, settle: float = 0.0) -> list[int]:
        """Return the ids of the connections to this database.

        A server notices a little later that a client is gone: with `settle`, waits up to that many
        seconds for the list to become empty.
        """
        deadline = time.monotonic() + settle
        while (ids := await self._sessions()) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        return ids

    @abstractmethod
    async def _sessions(self) -> list[int]: ...

    @abstractmethod
    async def create(self) -> None:
        """Make the database, empty."""

    @abstractmethod
    async def drop(self) -> None:
        """Remove the database, whoever is still connected to it."""


class SQLite(Database):
    """A file. It has no sessions: this process's descriptors of it stand in for them."""

    dialect = "sqlite"

    def __init__(self, path: Path) -> None:
        super().__init__(URL.create("sqlite+aiosqlite", database=str(path)))
        self._path = path

    async def create(self) -> None:
        """Leave it to the first connection."""

    async def drop(self) -> None:
        """Leave it to pytest, which keeps the directories of the last runs to be looked at."""

    async def _sessions(self) -> list[int]:
        return _descriptors(self._path)


class ServerDatabase(Database):
    """A database on a server, made and watched from outside of it."""

    variable: ClassVar[str]
    sessions_query: ClassVar[str]

    def __init__(self, name: str = "") -> None:
        server = make_url(os.environ[self.variable])
        self.name = name or f"awfe_{secrets.token_hex(8)}"
        super().__init__(server.set(database=self.name))
        self._server = create_async_engine(server, poolclass=NullPool, isolation_level="AUTOCOMMIT")

    async def create(self) -> None:
        """Make the database as the server makes one by default."""
        await execute(self._server, f"CREATE DATABASE {self.name}")

    async def _sessions(self) -> list[int]:
        rows = await execute(self._server, self.sessions_query, {"name": self.name})
        return [row[0] for row in rows]


class MySQLDatabase(ServerDatabase):
    """A database on MariaDB or MySQL."""

    dialect = MySQL.dialect
    variable = MySQL.variable
    sessions_query = "SELECT id FROM information_schema.processlist WHERE db = :name"

    async def drop(self) -> None:
        """Kill its sessions first: an open transaction's metadata lock would hold up the rest."""
        for session in await self.sessions():
            with suppress(DBAPIError):  # it ended by itself
                await execute(self._server, f"KILL {session}")
        await execute(self._server, f"DROP DATABASE IF EXISTS {self.name}")


class PostgreSQLDatabase(ServerDatabase):
    """A database on PostgreSQL."""

    dialect = PostgreSQL.dialect
    variable = PostgreSQL.variable
    sessions_query = "SELECT pid FROM pg_stat_activity WHERE datname = :name"

    async def drop(self) -> None:
        """Leave its sessions to the server."""
        await execute(self._server, f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")


class ReusedPostgreSQLDatabase(PostgreSQLDatabase):
    """One that an earlier test of this process has had, emptied: to make one takes the server longer than most tests.

    For tests that leave nothing in it but tables, nor a process that lives on.
    """

    _spare: ClassVar[list[str]] = []

    def __init__(self) -> None:
        self._is_new = not self._spare
        super().__init__(self._spare.pop() if self._spare else "")

    async def create(self) -> None:
        """Make it, where there is none to be taken over."""
        if self._is_new:
            await super().create()

    async def drop(self) -> None:
        """Empty it, and leave it to the next test."""
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
        await execute(self._server, ended, {"name": self.name})
        assert await self.sessions(settle=10) == []
        await self.execute("DROP SCHEMA public CASCADE")
        await self.execute("CREATE SCHEMA public")
        self._spare.append(self.name)

    @classmethod
    async def drop_spare(cls) -> None:
        """Remove those that no test has any more."""
        while cls._spare:
            await PostgreSQLDatabase(cls._spare.pop()).drop()


DIALECTS = (SQLite.dialect, MySQLDatabase.dialect, PostgreSQLDatabase.dialect)


async def execute(engine: AsyncEngine, sql: str, params: Mapping[str, Any] | None = None) -> Rows:
    """Run one statement in a transaction of its own."""
    async with engine.begin() as connection:
        result = await connection.execute(text(sql), params)
        return [tuple(row) for row in result] if result.returns_rows else []


def _descriptors(path: Path) -> list[int]:
    found = []
    for descriptor in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):  # the one that listed the directory is gone by now
            if descriptor.readlink() == path:
                found.append(int(descriptor.name))
    return found
