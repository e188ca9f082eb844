"""What a new connection is told: the settings of its session, and on SQLite how its transactions begin."""

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

# What a partitioned client leaves open is ended by the server, not after hours.
_IDLE_LIMIT: Final = 60

_MYSQL_SESSION: Final = (
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', innodb_lock_wait_timeout = 10 "
    f"/*M!100600 , idle_transaction_timeout = {_IDLE_LIMIT} */"
)
_POSTGRESQL_SESSION: Final = (
    # A client that vanished in the middle of a request is not idle.
    "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; "
    f"SET idle_in_transaction_session_timeout = '{_IDLE_LIMIT}s'; SET lock_timeout = '10s'; "
    # Of what is sent outside a transaction: SQLAlchemy says it only where it begins one.
    "SET default_transaction_isolation = 'read committed'"
)
_SQLITE_SESSION: Final = ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA busy_timeout = 10000")


def begin(connection: Any) -> None:
    """Begin on SQLite: a writer takes its lock at once, since one that only wants it later can fail in the middle."""
    from awfe.persistence.handover import Connection  # noqa: PLC0415 - only who uses SQLite needs its driver

    how = "BEGIN" if connection.get_execution_options().get("awfe_reads") else "BEGIN IMMEDIATE"
    driver = connection.connection.driver_connection
    if isinstance(driver, Connection):
        driver.begin(how)
    else:
        # A caller's engine has connections of its own.
        connection.exec_driver_sql(how)


def prepared(kind: str) -> Callable[[DBAPIConnection, ConnectionPoolEntry], None]:
    """Return what SQLAlchemy calls with each new connection to this kind of database."""

    def prepare(connection: Any, _entry: ConnectionPoolEntry) -> None:
        if kind == "postgresql":
            # As one simple query, outside any transaction: within one it would be rolled back.
            connection.run_async(lambda driver: driver.execute(_POSTGRESQL_SESSION))
            return
        if kind == "sqlite":
            connection.isolation_level = None
        cursor = connection.cursor()
        for statement in _SQLITE_SESSION if kind == "sqlite" else (_MYSQL_SESSION,):
            cursor.execute(statement)
        cursor.close()

    return prepare
