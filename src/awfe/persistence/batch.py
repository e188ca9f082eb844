"""Moves as statements: the only place that changes a state.

There is one statement for the heads of many, and one for the rows of each table. A head is changed where all that its
move was decided on still stands; how many were changed tells whether all did. No statement here can bring back a row
that is gone. They are executed within one greenlet: each statement by itself would be one of its own.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

import msgspec
from msgspec.structs import astuple
from sqlalchemy import (
    Boolean,
    Column,
    Double,
    Insert,
    Integer,
    String,
    Table,
    TextClause,
    Update,
    bindparam,
    func,
    insert,
    text,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.ext.asyncio import AsyncConnection

from awfe.domain.moves import Head, Move
from awfe.persistence import codec
from awfe.persistence.schema import UtcDateTime, attempt, event, workflow
from awfe.persistence.waiting import take, tell_parent

Names = tuple[str, ...]
Row = dict[str, Any]

# What must still be true of the row: whose it is, and what was asked.
FENCE: Final[Names] = ("id", "run_token", "run_id", "rev", "request")
_MUTABLE: Final = [
    column.name for column in workflow.c if column.name not in ("id", "name", "step_count", "created_at")
]
# Of a column, the field of the head that it holds, where that has another name or holds more.
_FIELDS: Final = {"run_token": "token", "wait_topic": "wait"}
_PLACES: Final = {name: Head.__struct_fields__.index(_FIELDS.get(name, name)) for name in _MUTABLE}
INSERT_EVENT: Final = insert(event).inline()
_INSERT_ATTEMPT: Final = insert(attempt)
_POSTGRESQL: Final[Dialect] = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's is not typed
_TIMES: Final = frozenset(
    column.name for table in (workflow, attempt, event) for column in table.c if isinstance(column.type, UtcDateTime)
)
# What a document holds as it is: most values of a row are of these.
_AS_IS: Final = (str, int, float, type(None))
_encode: Final = msgspec.json.Encoder().encode


async def put(connection: AsyncConnection, move: Move, uid: str) -> bool:
    """Write a move where its head still stands; the row that only it can add comes last."""
    return await connection.run_sync(_put, [(move, uid)], _update_each, _insert_each)


async def put_locked(connection: AsyncConnection, move: Move, uid: str) -> None:
    """Write a move from the head that this transaction has locked and read, so that nothing can fence it."""
    written = await put(connection, move, uid)
    assert written  # noqa: S101 - see above


async def put_all(connection: AsyncConnection, kind: str, moves: Sequence[tuple[Move, str]]) -> bool:
    """Write moves of different workflows, in the order of their ids, each with its uid; False where one is fenced.

    Then the transaction is good for nothing but to be rolled back.
    """
    return await connection.run_sync(_put, moves, *_BY_KIND[kind])


def _put(
    connection: Connection, moves: Sequence[tuple[Move, str]], update_heads: "_UpdateHeads", insert_rows: "_InsertRows"
) -> bool:
    columns = _changed_columns(move for move, _ in moves)
    heads = [_guard(move.before) | _picked(codec.columns_of(move.after), columns) for move, _ in moves]
    if update_heads(connection, columns, heads) != len(heads):
        return False
    for move, uid in moves:
        if move.signal is not None:
            take(connection, move.signal, move.after)
        tell_parent(connection, move.before, move.after, uid, move.at)
    noted = [
        codec.event_row(move.after, move.noted, uid, move.before.state) for move, uid in moves if move.noted is not None
    ]
    ended = [codec.attempt_row(move, move.ended) for move, _ in moves if move.ended is not None]
    if noted:
        insert_rows(connection, INSERT_EVENT, noted)
    if ended:
        insert_rows(connection, _INSERT_ATTEMPT, ended)
    return True


def _changed_columns(moves: Iterable[Move]) -> Names:
    """Return the columns that any of the moves changes; those that do not change it write what it has."""
    changed: set[int] = set()
    for move in moves:
        pairs = zip(astuple(move.before), astuple(move.after), strict=True)
        changed.update([place for place, (before, after) in enumerate(pairs) if before is not after])
    return tuple([column for column, place in _PLACES.items() if place in changed])


def _guard(head: Head) -> Row:
    values = {f"w_{name}": getattr(head, _FIELDS.get(name, name)) for name in FENCE}
    return {name: "" if value is None else value for name, value in values.items()}


def _picked(row: Row, names: Names) -> Row:
    return {name: row[name] for name in names}


# --- how each database is told many rows at once

_UpdateHeads = Callable[[Connection, Names, Sequence[Row]], int]
_InsertRows = Callable[[Connection, Insert, Sequence[Row]], None]


def _changed(connection: Connection, statement: Any, values: Any) -> int:
    result = connection.execute(statement, values)
    return result.rowcount


def _update_each(connection: Connection, columns: Names, rows: Sequence[Row]) -> int:
    return _changed(connection, _fenced(FENCE, columns), rows)


def _update_from_json(connection: Connection, columns: Names, rows: Sequence[Row]) -> int:
    document = _encode(
        [[value if type(value) in _AS_IS else _plain(value) for value in row.values()] for row in rows]
    ).decode()
    return _changed(connection, _json_update(FENCE, columns), {"rows": document})


def _update_from_arrays(connection: Connection, columns: Names, rows: Sequence[Row]) -> int:
    return _changed(connection, _array_update(FENCE, columns), _arrays(rows))


def _insert_each(connection: Connection, statement: Insert, rows: Sequence[Row]) -> None:
    connection.execute(statement, rows)


def _insert_from_arrays(connection: Connection, statement: Insert, rows: Sequence[Row]) -> None:
    table: Any = statement.table
    connection.execute(_array_insert(table, tuple(rows[0])), _arrays(rows))


_BY_KIND: Final[dict[str, tuple[_UpdateHeads, _InsertRows]]] = {
    "sqlite": (_update_each, _insert_each),
    "mysql": (_update_from_json, _insert_each),
    "postgresql": (_update_from_arrays, _insert_from_arrays),
}


def _arrays(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Return the values of each column, times without their zones."""
    return {
        name: [_stored(row[name]) for row in rows] if name in _TIMES else [row[name] for row in rows]
        for name in rows[0]
    }


def _stored(value: Any) -> Any:
    """Return a value as the columns keep it: a time without its zone."""
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value


def _plain(value: Any) -> Any:
    """Return a value for a document: true and false are numbers on MySQL."""
    stored = _stored(value)
    return int(stored) if isinstance(stored, bool) else stored


@cache
def _fenced(fence: Names, columns: Names) -> Update:
    """Return the statement that changes these columns of one head."""
    held = [_held(workflow.c[name]) == bindparam(f"w_{name}") for name in fence]
    return update(workflow).where(*held).values({name: bindparam(name) for name in columns})


def _held(column: Column[Any]) -> Any:
    return func.coalesce(column, "") if column.nullable else column


@cache
def _json_update(fence: Names, columns: Names) -> TextClause:
    """Return the statement for MySQL and MariaDB, which join a document in its order; else they might lock all rows."""
    types = ", ".join(
        f"{name} {_mysql_type(column)} PATH '$[{index}]' ERROR ON ERROR"
        for index, (name, column) in enumerate(_sent(fence, columns).items())
    )
    # Compared by their bytes: the collation of the column may be another one than that of the connection.
    held = _all_held(fence, lambda name: f"CAST(v.{name} AS BINARY)")
    assigned = ", ".join(f"w.`{name}` = v.n_{name}" for name in columns)
    table = f"JSON_TABLE(:rows, '$[*]' COLUMNS ({types}))"
    return text(f"UPDATE {table} AS v STRAIGHT_JOIN awfe_workflow AS w ON {held} SET {assigned}")  # noqa: S608 - names of our own columns


@cache
def _array_update(fence: Names, columns: Names) -> TextClause:
    sent = _sent(fence, columns)
    assigned = ", ".join(f"{name} = v.n_{name}" for name in columns)
    given = _unnested(zip((*(f"w_{name}" for name in fence), *columns), sent.values(), strict=True))
    held = _all_held(fence, lambda name: f"v.{name}")
    return text(f"UPDATE awfe_workflow AS w SET {assigned} FROM {given} AS v({', '.join(sent)}) WHERE {held}")  # noqa: S608 - names of our own columns


@cache
def _array_insert(table: Table, columns: Names) -> TextClause:
    given = _unnested((name, table.c[name]) for name in columns)
    return text(f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT * FROM {given}")  # noqa: S608 - names of our own columns


def _sent(fence: Names, columns: Names) -> dict[str, Column[Any]]:
    """Return the columns of what is sent: what must stand, and what is new."""
    held = {f"w_{name}": workflow.c[name] for name in fence}
    return held | {f"n_{name}": workflow.c[name] for name in columns}


def _all_held(fence: Names, given_text: Callable[[str], str]) -> str:
    held = []
    for name in fence:
        column = workflow.c[name]
        given = given_text(f"w_{name}") if isinstance(column.type, String) else f"v.w_{name}"
        held.append(f"COALESCE(w.{name}, '') = {given}" if column.nullable else f"w.{name} = {given}")
    return " AND ".join(held)


def _unnested(given: Iterable[tuple[str, Column[Any]]]) -> str:
    return f"unnest({', '.join(f'CAST(:{name} AS {_postgresql_type(column)}[])' for name, column in given)})"


def _mysql_type(column: Column[Any]) -> str:
    kind = column.type
    if isinstance(kind, Integer | Boolean):
        return "BIGINT"
    if isinstance(kind, UtcDateTime):
        return "DATETIME(6)"
    if isinstance(kind, Double):
        return "DOUBLE"
    # Without the character set it would be the database's, which may lack some.
    size = f"VARCHAR({kind.length})" if isinstance(kind, String) and kind.length else "LONGTEXT"
    return f"{size} CHARACTER SET utf8mb4"


def _postgresql_type(column: Column[Any]) -> str:
    # The collation of a name is the column's.
    if isinstance(column.type, String):
        return "TEXT"
    return column.type.compile(_POSTGRESQL)
