"""A move as one request: its statements go to the server together, and their COMMIT with them.

Each by itself is a way there and back, for which a workflow waits that runs alone. Together they can't look at each
other's answers in between, so each is conditional on the one before it: where the head does not stand any more nothing
is changed, and an empty transaction is committed.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import Column, Table, TextClause, bindparam, text
from sqlalchemy.engine import Connection

from awfe.persistence.schema import workflow

Names = tuple[str, ...]
# An option of a statement that is several: a list, into which goes how many rows the first has changed.
TOLD: Final = "awfe_told"
# Between them.
JOINT: Final = ";\n"
_CHANGED: Final = {"mysql": "FROM DUAL WHERE ROW_COUNT() = 1", "sqlite": "WHERE changes() = 1"}


def execute(
    connection: Connection, head: dict[str, Any], fence: dict[str, Any], rows: Sequence[tuple[Table, dict[str, Any]]]
) -> int:
    """Change a head where it stands, add these rows, and commit; returns how many heads stood, which is one or none."""
    kind = connection.dialect.name
    inserts = tuple([(table, tuple(row)) for table, row in rows])
    statement = _joined(kind, tuple(head), tuple(fence), inserts)
    values = {f"w_{name}": value for name, value in fence.items()} | head
    for n, (_, row) in enumerate(rows):
        values |= {f"r{n}_{name}": value for name, value in row.items()}
    told: list[int] = []
    result = connection.execute(statement, values, execution_options={TOLD: told})
    # On PostgreSQL they are one statement, whose count is that of the rows.
    return told[0] if told else result.rowcount


@cache
def _joined(kind: str, head: Names, fence: Names, inserts: tuple[tuple[Table, Names], ...]) -> TextClause:
    held = " AND ".join(_held(workflow.c[name]) for name in fence)
    update = f"UPDATE awfe_workflow SET {', '.join(f'{name} = :{name}' for name in head)} WHERE {held}"  # noqa: S608 - names of our own columns
    if kind == "postgresql":
        made = [_insert(kind, n, *insert, "FROM moved") for n, insert in enumerate(inserts)]
        *first, last = made
        parts = [f"moved AS ({update} RETURNING 1)", *(f"r{n} AS ({each})" for n, each in enumerate(first))]
        joined = f"WITH {', '.join(parts)} {last}"
    else:
        parts = [_insert(kind, n, *insert, _CHANGED[kind]) for n, insert in enumerate(inserts)]
        joined = JOINT.join([update, *parts, "COMMIT"])
    bound = [bindparam(name, type_=workflow.c[name].type) for name in head]
    bound += [bindparam(f"w_{name}", type_=workflow.c[name].type) for name in fence]
    for n, (table, names) in enumerate(inserts):
        bound += [bindparam(f"r{n}_{name}", type_=table.c[name].type) for name in names]
    return text(joined).bindparams(*bound)


def _held(column: Column[Any]) -> str:
    return f"COALESCE({column.name}, '') = :w_{column.name}" if column.nullable else f"{column.name} = :w_{column.name}"


def _insert(kind: str, number: int, table: Table, names: Names, condition: str) -> str:
    quote = "`" if kind == "mysql" else '"'
    into = ", ".join(f"{quote}{name}{quote}" for name in names)
    values = ", ".join(f":r{number}_{name}" for name in names)
    return f"INSERT INTO {table.name} ({into}) SELECT {values} {condition}"
