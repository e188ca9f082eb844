"""What can be wrong with a database, looked at without changing it."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from awfe import urls
from awfe.errors import ConfigError, SchemaOutdated, StoreUnavailable
from awfe.persistence import schema
from awfe.persistence.session import Database
from awfe.settings import Settings

# A clock that is off by more makes the times in a history hard to follow; locks and fences don't depend on it.
_CLOCK_LIMIT: Final = 2.0
_LOCK: Final = "awfe:doctor"
_POOL: Final = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was found, and where that is wrong, how to mend it."""

    what: str
    found: str
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class _Value:
    """A value of the server's, and what is wrong with others."""

    what: str
    sql: str
    is_good: Callable[[Any], bool]
    advice: str


def _is_one_of(*good: object) -> Callable[[Any], bool]:
    return lambda value: value in good


def _mysql_version(value: Any) -> bool:
    numbers = tuple(int(part) for part in str(value).split("-")[0].split(".") if part.isdigit())
    return numbers >= ((10, 6) if "MariaDB" in str(value) else (8, 0, 19))


_VALUES: Final[dict[str, tuple[_Value, ...]]] = {
    "sqlite": (
        _Value(
            "version",
            "SELECT sqlite_version()",
            lambda value: tuple(map(int, str(value).split("."))) >= (3, 35),
            "use a Python with SQLite 3.35 or newer",
        ),
        _Value(
            "journal_mode",
            "PRAGMA journal_mode",
            _is_one_of("wal"),
            "put the file on a local disk: a write-ahead log does not work there",
        ),
        _Value(
            "synchronous",
            "PRAGMA synchronous",
            _is_one_of(2, 3),
            "what was committed may be lost with the power: remove what sets it",
        ),
        _Value(
            "quick_check",
            "PRAGMA quick_check(1)",
            _is_one_of("ok"),
            "the file is damaged: restore it from a backup",
        ),
    ),
    "mysql": (
        _Value("version", "SELECT VERSION()", _mysql_version, "use MariaDB 10.6 or MySQL 8.0.19, or newer"),
        _Value(
            "innodb_flush_log_at_trx_commit",
            "SELECT @@innodb_flush_log_at_trx_commit",
            _is_one_of(1),
            "what was committed may be lost with the server: set it to 1",
        ),
        _Value(
            "sync_binlog",
            "SELECT IF(@@log_bin, @@sync_binlog, 1)",
            _is_one_of(1),
            "after a crash a replica may miss what was committed: set it to 1",
        ),
        _Value(
            "named locks",
            f"SELECT GET_LOCK('{_LOCK}', 5) + IS_USED_LOCK('{_LOCK}') - CONNECTION_ID() + RELEASE_LOCK('{_LOCK}')",
            _is_one_of(2),
            "something between awfe and the server keeps no session: connect without it, or use locks='lease'",
        ),
    ),
    "postgresql": (
        _Value(
            "version",
            "SELECT current_setting('server_version_num')::int",
            lambda value: value >= 130_000,  # noqa: PLR2004 - the server's way to write 13.0
            "use PostgreSQL 13 or newer",
        ),
        *(
            _Value(
                name,
                f"SELECT current_setting('{name}')",
                lambda value: value != "off",
                "what was committed may be lost with the server: set it to on",
            )
            for name in ("fsync", "synchronous_commit", "full_page_writes")
        ),
        _Value(
            "advisory locks",
            f"SELECT pg_try_advisory_xact_lock(hashtext('{_LOCK}'))",
            bool,
            "somebody else is just asking: ask again",
        ),
    ),
}
_REJECTED: Final = "give the user, password and database that the server knows, or have the user granted its rights"
_MISREAD: Final = "take that argument out of the URL"
_AWAY: Final[dict[str, str]] = {
    "sqlite": "name another file, or restore this one from a backup, in a directory that you may write to",
    **dict.fromkeys(("mysql", "postgresql"), "start the server, or mend its host and port, or the network to it"),
}
_CLOCKS: Final = {
    "mysql": "SELECT UNIX_TIMESTAMP(NOW(6))",
    "postgresql": "SELECT EXTRACT(EPOCH FROM clock_timestamp())::float8",
}
_CONNECTIONS: Final = {
    "mysql": "SELECT @@max_connections",
    "postgresql": "SELECT current_setting('max_connections')::int",
}


@dataclass(frozen=True, slots=True)
class Tables:
    """A database as people may see it, the version of its tables (None: not there, or not all), and what awfe needs."""

    database: str
    schema: int | None
    needed: int

    def check(self) -> None:
        """Raise `SchemaOutdated` where they are not what awfe needs."""
        if self.schema is None:
            msg = f"{self.database} has no tables of awfe: run 'awfe db upgrade'"
            raise SchemaOutdated(msg)
        schema.check_version(self.schema)


async def tables(url: str, settings: Settings) -> Tables:
    """Return of which version the tables are."""
    database = Database(url, settings, logging.getLogger("awfe"))
    if urls.is_missing_file(database.url):
        return Tables(str(database), None, schema.VERSION)
    async with database.briefly(_POOL):
        return Tables(str(database), await database.read(_version), schema.VERSION)


async def examine(url: str, settings: Settings) -> list[Finding]:
    """Look at a database; that it can't be reached is a finding, too. Raises `ConfigError` for what is no URL."""
    database = Database(url, settings, logging.getLogger("awfe"))
    if urls.is_missing_file(database.url):
        return [Finding("database", str(database), "there is no such file; create it: awfe db upgrade")]

    async def look(connection: AsyncConnection) -> list[Finding]:
        findings = [Finding("database", str(database)), await _tables(connection)]
        for each in _VALUES[database.kind]:
            value = (await connection.execute(text(each.sql))).scalar()
            findings.append(Finding(each.what, str(value), None if each.is_good(value) else each.advice))
        if database.kind in _CLOCKS:
            findings.append(await _clock(connection, _CLOCKS[database.kind]))
            wanted = settings.pool_size + 1 + settings.lock_connections
            findings.append(await _connections(connection, _CONNECTIONS[database.kind], wanted))
        return findings

    try:
        async with database.briefly(_POOL):
            return await database.read(look)
    except (StoreUnavailable, ConfigError) as error:
        advice = _REJECTED if isinstance(error, ConfigError) else _AWAY[database.kind]
        return [Finding("database", str(error), _MISREAD if isinstance(error.__cause__, TypeError) else advice)]


async def _version(connection: AsyncConnection) -> int | None:
    return await connection.run_sync(schema.version_of)


async def _tables(connection: AsyncConnection) -> Finding:
    found = await _version(connection)
    if found is None:
        return Finding("schema", "no tables", "create them: awfe db upgrade")
    advice = None
    if found != schema.VERSION:
        advice = f"this awfe needs schema {schema.VERSION}: " + (
            "upgrade awfe" if found > schema.VERSION else "awfe db upgrade"
        )
    return Finding("schema", str(found), advice)


async def _clock(connection: AsyncConnection, sql: str) -> Finding:
    loop = asyncio.get_running_loop()
    before, asked = datetime.now(UTC).timestamp(), loop.time()
    server = float((await connection.execute(text(sql))).scalar_one())
    # It was read at some moment of the round trip.
    off = max(0.0, abs(server - before) - (loop.time() - asked))
    advice = "let both keep their time by NTP: what a history says is in the order of this machine's clock"
    return Finding("clock", f"{off:.1f} s apart", advice if off > _CLOCK_LIMIT else None)


async def _connections(connection: AsyncConnection, sql: str, wanted: int) -> Finding:
    there = int((await connection.execute(text(sql))).scalar_one())
    advice = f"an engine with these settings may need {wanted}: raise max_connections, or take locks='shared'"
    return Finding("max_connections", str(there), advice if wanted > there else None)
