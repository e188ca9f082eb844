"""The scripts that make tables of an older awfe into those of this one, and how they are run; needs Alembic.

A script is a file of `versions`. Its `upgrade` is given Alembic's operations: the `op` of most projects is one for a
whole process, where several databases may be upgraded at once. The view is not a script's business. MySQL keeps each
statement, so a script that was cut off is run again there, and must pass over what it has done.
"""

from pathlib import Path
from typing import Final

from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

from awfe.errors import SchemaOutdated
from awfe.persistence import schema

SCRIPTS = Path(__file__).parent
# Beside that of an application which uses Alembic too. What counts is the row of `awfe_meta`; this follows it.
VERSION_TABLE: Final = "awfe_migration"


def upgrade(connection: Connection, found: int) -> None:
    """Run what leads from a version of the tables to that of this awfe, each script in turn with the row that says so.

    The caller holds the schema's lock, and commits. Raises `SchemaOutdated` where no script begins there.
    """
    directory = ScriptDirectory(SCRIPTS)
    (head,) = directory.get_heads()
    known = {script.revision for script in directory.walk_revisions()}
    start = f"{found:04}"
    if start not in known:
        msg = f"the tables are of schema {found}, from which no script of this awfe leads to {int(head)}"
        raise SchemaOutdated(msg)
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    context.stamp(directory, start)
    # No column that a view shows can be changed, nor on SQLite a table be made anew that one looks at.
    schema.drop_view(connection)
    for script in reversed(list(directory.iterate_revisions(head, start))):
        script.module.upgrade(Operations(context))
        if script.revision == head:
            schema.create_view(connection)
        context.stamp(directory, script.revision)
        connection.execute(schema.meta.update().values(version=int(script.revision)))
