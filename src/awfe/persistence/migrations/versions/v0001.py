"""Schema 1, made from nothing, as the first awfe made it.

An engine makes the newest tables by itself, without Alembic. This is where the scripts after it begin, and what the
tests make old tables with.
"""

from typing import Any, Final

from alembic.operations import Operations
from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Double, Integer, String, Text

from awfe.persistence.schema import ExactName, LongText, UtcDateTime

revision = "0001"
down_revision = None

_ID: Final = BigInteger().with_variant(Integer(), "sqlite")
_INNODB: Final[dict[str, Any]] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4"}
_COUNTED: Final[dict[str, Any]] = {**_INNODB, "sqlite_autoincrement": True}
_STATES: Final = (
    "('pending', 'running', 'waiting', 'paused', 'stopped', 'error', 'completed', 'rolling_back', 'rolled_back')"
)
_STEP_STATES: Final = (
    "('pending', 'running', 'waiting', 'completed', 'skipped', 'stopped', 'error', 'interrupted', 'undone')"
)


def upgrade(op: Operations) -> None:
    """Make all tables and indexes."""
    op.create_table(
        "awfe_meta",
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("version", Integer, nullable=False),
        Column("instance", String(32), nullable=False),
        Column("created_at", UtcDateTime, nullable=False),
        mysql_engine="InnoDB",
    )
    _workflow(op)
    _steps(op)
    _events(op)
    op.create_table(
        "awfe_lease",
        Column("owner", String(160), primary_key=True),
        Column("expires", Double, nullable=False),
        **_INNODB,
    )


def _workflow(op: Operations) -> None:
    op.create_table(
        "awfe_workflow",
        Column("id", _ID, primary_key=True),
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
        CheckConstraint(f"state IN {_STATES}", name="awfe_workflow_state"),
        CheckConstraint(f"step_state IN {_STEP_STATES}", name="awfe_workflow_step_state"),
        CheckConstraint("request IN ('pause', 'stop')", name="awfe_workflow_request"),
        CheckConstraint(
            "attempt_started_at IS NULL OR state IN ('running', 'rolling_back') OR step_state = 'waiting'",
            name="awfe_workflow_attempt",
        ),
        CheckConstraint("wait IS NULL OR step_state = 'waiting'", name="awfe_workflow_waits"),
        CheckConstraint("request IS NULL OR state IN ('running', 'rolling_back')", name="awfe_workflow_asked"),
        CheckConstraint("(ended_at IS NOT NULL) = (state IN ('completed', 'rolled_back'))", name="awfe_workflow_ended"),
        CheckConstraint("(position IS NULL) = (step_state IS NULL)", name="awfe_workflow_position"),
        **_COUNTED,
    )
    for name, columns in {
        "state": ["state", "id"],
        "request": ["request"],
        "owner": ["owner", "state"],
        "waiter": ["waiter", "state", "due_at"],
        "parent": ["parent_id"],
    }.items():
        op.create_index(f"awfe_workflow_by_{name}", "awfe_workflow", columns)


def _steps(op: Operations) -> None:
    op.create_table(
        "awfe_step",
        Column("workflow_id", BigInteger, primary_key=True, autoincrement=False),
        Column("position", Integer, primary_key=True, autoincrement=False),
        Column("name", String(255), nullable=False),
        Column("impl", String(255), nullable=False),
        Column("args", LongText, nullable=False),
        Column("policies", Text, nullable=False),
        **_INNODB,
    )
    op.create_table(
        "awfe_attempt",
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
        CheckConstraint(
            "outcome IN ('completed', 'skipped', 'stopped', 'error', 'interrupted', 'undone')",
            name="awfe_attempt_outcome",
        ),
        CheckConstraint(f"after IN {_STATES}", name="awfe_attempt_after"),
        **_INNODB,
    )


def _events(op: Operations) -> None:
    op.create_table(
        "awfe_event",
        Column("id", _ID, primary_key=True),
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
        **_COUNTED,
    )
    op.create_index("awfe_event_by_workflow", "awfe_event", ["workflow_id", "rev"])
    op.create_table(
        "awfe_signal",
        Column("id", _ID, primary_key=True),
        Column("uid", String(32), nullable=False, unique=True),
        Column("workflow_id", BigInteger, nullable=False),
        Column("topic", ExactName(200), nullable=False),
        Column("payload", LongText, nullable=False),
        Column("at", UtcDateTime, nullable=False),
        Column("taken_rev", BigInteger),
        **_COUNTED,
    )
    op.create_index("awfe_signal_by_workflow", "awfe_signal", ["workflow_id", "topic", "taken_rev"])
    op.create_table(
        "awfe_tombstone",
        Column("id", _ID, primary_key=True),
        Column("uid", String(32), nullable=False, unique=True),
        Column("name", ExactName(200), nullable=False),
        Column("deleted_at", UtcDateTime, nullable=False),
        Column("actor", String(255)),
        Column("reason", LongText),
        **_COUNTED,
    )
