"""The tables, with the invariants that the database holds too, and how they come to be."""

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import DDLCompiler

from awfe.domain.states import ACTIVE, ENDED, OUTCOMES, StepState, WorkflowState
from awfe.errors import SchemaOutdated

VERSION = 1


class ExactName(String):
    """A name compared by code points, trailing spaces and accents included."""


@compiles(ExactName, "postgresql")
def _postgresql_name(_type: ExactName, _compiler: DDLCompiler, **_kw: object) -> str:
    return 'VARCHAR(200) COLLATE "C"'


@compiles(ExactName, "mysql")
def _mysql_name(_type: ExactName, compiler: DDLCompiler, **_kw: object) -> str:
    # utf8mb4_bin pads: there 'a' and 'a ' are one name. Neither server knows the other's collation.
    collation = "utf8mb4_nopad_bin" if getattr(compiler.dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
    return f"VARCHAR(200) CHARACTER SET utf8mb4 COLLATE {collation}"


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time, kept in UTC with microseconds."""

    impl = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - the signature is SQLAlchemy's
        """Keep the UTC time without its zone, which not every database can keep."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - the signature is SQLAlchemy's
        """Return an aware time."""
        return None if value is None else value.replace(tzinfo=UTC)


# MySQL's TEXT ends at 65,535 bytes.
LongText = Text().with_variant(mysql.LONGTEXT(), "mysql")
_Id = BigInteger().with_variant(Integer(), "sqlite")


def _listed(values: Iterable[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)


def _one_of(column: str, values: Iterable[str], name: str) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({_listed(values)})", name=name)


metadata = MetaData()
_TABLE: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "sqlite_autoincrement": True}

meta = Table(
    "awfe_meta",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    Column("instance", String(32), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    mysql_engine="InnoDB",
)

workflow = Table(
    "awfe_workflow",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", ExactName(200), nullable=False, unique=True),
    Column("step_count", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("position", Integer),
    Column("step_state", String(16)),
    Column("attempt", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("attempt_started_at", UtcDateTime),
    Column("due_at", UtcDateTime),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("resumable", Boolean(create_constraint=False), nullable=False),
    Column("run_token", BigInteger, nullable=False),
    Column("run_id", String(32), nullable=False),
    Column("rev", BigInteger, nullable=False),
    Column("owner", String(160)),
    Column("request", String(8)),
    Column("stop_grace", Double),
    Column("scheduled_at", UtcDateTime),
    Column("undoing", Boolean(create_constraint=False), nullable=False),
    Column("wait", LongText),
    Column("waiter", String(160)),
    Column("parent_id", BigInteger),
    Column("wait_topic", ExactName(200)),
    _one_of("state", WorkflowState, "awfe_workflow_state"),
    _one_of("step_state", StepState, "awfe_workflow_step_state"),
    _one_of("request", ("pause", "stop"), "awfe_workflow_request"),
    CheckConstraint(
        f"attempt_started_at IS NULL OR state IN ({_listed(ACTIVE)}) OR step_state = 'waiting'",
        name="awfe_workflow_attempt",
    ),
    CheckConstraint("wait IS NULL OR step_state = 'waiting'", name="awfe_workflow_waits"),
    CheckConstraint(f"request IS NULL OR state IN ({_listed(ACTIVE)})", name="awfe_workflow_asked"),
    CheckConstraint(f"(ended_at IS NOT NULL) = (state IN ({_listed(ENDED)}))", name="awfe_workflow_ended"),
    CheckConstraint("(position IS NULL) = (step_state IS NULL)", name="awfe_workflow_position"),
    Index("awfe_workflow_by_state", "state", "id"),
    Index("awfe_workflow_by_request", "request"),
    Index("awfe_workflow_by_owner", "owner", "state"),
    Index("awfe_workflow_by_waiter", "waiter", "state", "due_at"),
    Index("awfe_workflow_by_parent", "parent_id"),
    **_TABLE,
)

step = Table(
    "awfe_step",
    metadata,
    Column("workflow_id", BigInteger, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("name", String(255), nullable=False),
    Column("impl", String(255), nullable=False),
    Column("args", LongText, nullable=False),
    Column("policies", Text, nullable=False),
    mysql_engine="InnoDB",
    mysql_charset="utf8mb4",
)

attempt = Table(
    "awfe_attempt",
    metadata,
    Column("workflow_id", BigInteger, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("rev", BigInteger, nullable=False),
    Column("run_token", BigInteger, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("before", String(16), nullable=False),
    Column("after", String(16), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime, nullable=False),
    Column("changes", LongText),
    Column("output", LongText, nullable=False),
    Column("error_type", String(255)),
    Column("error_message", LongText),
    Column("error_traceback", LongText),
    _one_of("outcome", OUTCOMES, "awfe_attempt_outcome"),
    _one_of("after", WorkflowState, "awfe_attempt_after"),
    mysql_engine="InnoDB",
    mysql_charset="utf8mb4",
)

event = Table(
    "awfe_event",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("uid", String(32), nullable=False, unique=True),
    Column("workflow_id", BigInteger, nullable=False),
    Column("rev", BigInteger, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("cause", String(32), nullable=False),
    Column("position", Integer, nullable=False),
    Column("attempt", Integer),
    Column("before", String(16)),
    Column("after", String(16), nullable=False),
    Column("actor", String(255)),
    Column("reason", LongText),
    Column("detail", String(255)),
    Column("changes", LongText),
    Column("output", LongText),
    Index("awfe_event_by_workflow", "workflow_id", "rev"),
    **_TABLE,
)

# What was sent to a workflow; each is taken once, by the move of the revision `taken_rev`.
signal = Table(
    "awfe_signal",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("uid", String(32), nullable=False, unique=True),
    Column("workflow_id", BigInteger, nullable=False),
    Column("topic", ExactName(200), nullable=False),
    Column("payload", LongText, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("taken_rev", BigInteger),
    Index("awfe_signal_by_workflow", "workflow_id", "topic", "taken_rev"),
    **_TABLE,
)

# The engines that live, where locks are leases: until when, in seconds of the database's clock.
lease = Table(
    "awfe_lease",
    metadata,
    Column("owner", String(160), primary_key=True),
    Column("expires", Double, nullable=False),
    mysql_engine="InnoDB",
    mysql_charset="utf8mb4",
)

tombstone = Table(
    "awfe_tombstone",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("uid", String(32), nullable=False, unique=True),
    Column("name", ExactName(200), nullable=False),
    Column("deleted_at", UtcDateTime, nullable=False),
    Column("actor", String(255)),
    Column("reason", LongText),
    **_TABLE,
)

# For people who look by SQL: the state of each step, which awfe itself replays from the log. What is older than the
# last reset from a step, or from one before it, is of a past that was dropped; an undo that failed left its step done.
_SINCE_RESET = """(
    SELECT COALESCE(MAX(r.rev), -1) FROM awfe_event r
    WHERE r.workflow_id = w.id AND r.cause = 'reset_from' AND r.position < s.position)"""
_VIEW = f"""
SELECT w.name AS workflow, s.position AS position, s.name AS step,
  CASE
    WHEN s.position = w.position THEN w.step_state
    WHEN a.outcome IS NULL AND k.rev IS NULL THEN 'pending'
    WHEN a.outcome IS NULL OR a.rev <= k.rev THEN 'skipped'
    ELSE a.outcome
  END AS state
FROM awfe_workflow w
JOIN awfe_step s ON s.workflow_id = w.id
LEFT JOIN awfe_attempt a ON a.workflow_id = w.id AND a.position = s.position AND a.attempt = (
  SELECT MAX(b.attempt) FROM awfe_attempt b
  WHERE b.workflow_id = w.id AND b.position = s.position AND b.rev > {_SINCE_RESET}
    AND (b.outcome = 'undone' OR b.before <> 'rolling_back'))
LEFT JOIN awfe_event k ON k.workflow_id = w.id AND k.rev = (
  SELECT MAX(e.rev) FROM awfe_event e
  WHERE e.workflow_id = w.id AND e.cause = 'skip' AND e.position = s.position AND e.rev > {_SINCE_RESET})
  AND k.cause = 'skip' AND k.position = s.position
"""  # noqa: S608 - constants


def version_of(connection: Connection) -> int | None:
    """Return the version of the tables, None when they are not there or not complete."""
    if not connection.dialect.has_table(connection, meta.name):
        return None
    return connection.execute(meta.select().with_only_columns(meta.c.version)).scalar_one_or_none()


def create(connection: Connection) -> None:
    """Create what is missing, the version row last; the caller holds the schema's lock."""
    metadata.create_all(connection, checkfirst=True)
    for table in metadata.tables.values():
        for index in table.indexes:
            index.create(connection, checkfirst=True)
    create_view(connection)
    if version_of(connection) is None:
        row = {"id": 1, "version": VERSION, "instance": secrets.token_hex(16), "created_at": datetime.now(UTC)}
        connection.execute(meta.insert(), row)


def create_view(connection: Connection) -> None:
    """Create the view, if it is not there."""
    head = "CREATE VIEW IF NOT EXISTS" if connection.dialect.name == "sqlite" else "CREATE OR REPLACE VIEW"
    connection.exec_driver_sql(f"{head} awfe_step_state AS {_VIEW}")


def drop_view(connection: Connection) -> None:
    """Drop the view, if it is there."""
    connection.exec_driver_sql("DROP VIEW IF EXISTS awfe_step_state")


def check_version(found: int) -> None:
    """Raise `SchemaOutdated` when the tables belong to another version of awfe."""
    if found == VERSION:
        return
    if type(found) is int and found > VERSION:
        msg = f"the tables are of schema {found}, this awfe knows {VERSION}: upgrade awfe"
    else:
        msg = f"the tables are of schema {found}, this awfe needs {VERSION}: run 'awfe db upgrade'"
    raise SchemaOutdated(msg)
