"""What lets a request of several statements pass through SQLAlchemy, which knows only of single ones.

aiomysql and pymysql send them as one packet, and the server answers each. SQLite's thread gets them together.
"""

from typing import Any
from weakref import WeakSet

from sqlalchemy.util.concurrency import await_

from awfe.persistence.request import JOINT, TOLD


def join_statements(dialect: Any) -> None:
    """Let this dialect execute such a request, and send no COMMIT where the request has brought its own."""
    if dialect.name == "mysql":
        _on_mysql(dialect)
    elif dialect.name == "sqlite":
        _on_sqlite(dialect)


def _on_mysql(dialect: Any) -> None:
    execute, commit = dialect.do_execute, dialect.do_commit
    committed: WeakSet[Any] = WeakSet()

    def do_execute(cursor: Any, statement: str, parameters: Any, context: Any) -> None:
        driver = cursor._adapt_connection.driver_connection  # noqa: SLF001 - SQLAlchemy has no public way back
        committed.discard(driver)
        execute(cursor, statement, parameters, context)
        if (told := context.execution_options.get(TOLD)) is not None:
            told.append(cursor.rowcount)
            await_(_rest_of(cursor._cursor))  # noqa: SLF001 - the adapter's own `nextset` looks for rows
            committed.add(driver)

    def do_commit(connection: Any) -> None:
        if connection.driver_connection in committed:
            committed.discard(connection.driver_connection)
        else:
            commit(connection)

    dialect.do_execute, dialect.do_commit = do_execute, do_commit


async def _rest_of(cursor: Any) -> None:
    """Read the answers to the other statements; raises what one of them has failed with."""
    while await cursor.nextset():
        pass


def _on_sqlite(dialect: Any) -> None:
    execute = dialect.do_execute

    def do_execute(cursor: Any, statement: str, parameters: Any, context: Any) -> None:
        if (told := context.execution_options.get(TOLD)) is None:
            execute(cursor, statement, parameters, context)
        else:
            told.append(await_(cursor._cursor.execute_all(statement.split(JOINT), parameters)))  # noqa: SLF001 - ours, under the adapter

    dialect.do_execute = do_execute
