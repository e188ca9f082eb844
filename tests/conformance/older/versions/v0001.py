"""Schema 1 from a schema 0 that differs from it in all that a script may have to change."""

from contextlib import AbstractContextManager

from alembic.operations import BatchOperations, Operations
from sqlalchemy import BigInteger, CheckConstraint, Column, String, Text, inspect

from awfe.persistence import schema

revision = "0001"
down_revision = "0000"

_FIRST_STATES = "state IN ('pending', 'running', 'waiting', 'paused', 'stopped', 'error', 'completed')"


def upgrade(op: Operations) -> None:
    """Pass over what a script that was cut off has done: MySQL keeps each statement."""
    bind = op.get_bind()
    there = inspect(bind)
    schema.tombstone.create(bind, checkfirst=True)
    columns = {column["name"] for column in there.get_columns("awfe_workflow")}
    if "parent_id" not in columns:
        op.add_column("awfe_workflow", Column("parent_id", BigInteger))
    indexes = {index["name"] for index in there.get_indexes("awfe_workflow")}
    if "awfe_workflow_by_parent" not in indexes:
        op.create_index("awfe_workflow_by_parent", "awfe_workflow", ["parent_id"])
    checks = {check["name"] for check in there.get_check_constraints("awfe_workflow")}
    with _workflow(op) as batch:
        if "awfe_workflow_state" in checks:
            batch.drop_constraint("awfe_workflow_state", type_="check")
    with _workflow(op) as batch:
        batch.create_check_constraint("awfe_workflow_state", _all_states())
    with op.batch_alter_table("awfe_event", table_kwargs={"sqlite_autoincrement": True}) as batch:
        batch.alter_column("reason", existing_type=String(255), type_=schema.LongText)
    _add_policies(op, {column["name"] for column in there.get_columns("awfe_step")})


def _add_policies(op: Operations, columns: set[str]) -> None:
    """Add a column that is never empty: what is there is filled first."""
    if "policies" not in columns:
        op.add_column("awfe_step", Column("policies", Text))
    op.execute(schema.step.update().where(schema.step.c.policies.is_(None)).values(policies="{}"))
    with op.batch_alter_table("awfe_step") as batch:
        batch.alter_column("policies", existing_type=Text(), nullable=False)


def downgrade(op: Operations) -> None:
    """Make schema 0."""
    schema.tombstone.drop(op.get_bind())
    op.drop_index("awfe_workflow_by_parent", "awfe_workflow")
    with _workflow(op) as batch:
        batch.drop_column("parent_id")
        batch.drop_constraint("awfe_workflow_state", type_="check")
    with _workflow(op) as batch:
        batch.create_check_constraint("awfe_workflow_state", _FIRST_STATES)
    with op.batch_alter_table("awfe_event", table_kwargs={"sqlite_autoincrement": True}) as batch:
        batch.alter_column("reason", existing_type=schema.LongText, type_=String(255))
    with op.batch_alter_table("awfe_step") as batch:
        batch.drop_column("policies")


def _workflow(op: Operations) -> AbstractContextManager[BatchOperations]:
    return op.batch_alter_table("awfe_workflow", table_kwargs={"sqlite_autoincrement": True})


def _all_states() -> str:
    checks = (each for each in schema.workflow.constraints if isinstance(each, CheckConstraint))
    return next(str(each.sqltext) for each in checks if each.name == "awfe_workflow_state")
