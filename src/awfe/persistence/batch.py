"""Moves as statements: the only place that changes a state.

There is one statement for the heads of many, and one for the rows of each table; the rows are one JSON document, which
every database takes apart faster than a driver puts a list of values together. A lone move, which may be large, has
its values by themselves: in a document each is quoted twice. A head is changed where all that its move was decided on
still stands; how many were changed tells whether all did. No statement here can bring back a row that is gone. They
are executed within one greenlet: each statement by itself would be one of its own.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from operator import attrgetter, is_not
from typing import Any, Final

import msgspec
from msgspec.structs import astuple
from sqlalchemy import (
    Boolean,
    Column,
    Double,
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
from awfe.persistence import codec, request
from awfe.persistence.request import Names
from awfe.persistence.schema import UtcDateTime, attempt, event, workflow
from awfe.persistence.waiting import take, tell_parent, tells_parent

# What must still be true of the row: whose it is, and what was asked.
FENCE: Final[Names] = ("id", "run_token", "run_id", "rev", "request")
_MUTABLE: Final = [
    column.name for column in workflow.c if column.name not in ("id", "name", "step_count", "created_at")
]
# Of a column, the field of the head that it holds, where that has another name or holds more.
_FIELDS: Final = {"run_token": "token", "wait_topic": "wait"}
_PLACES: Final = {name: Head.__struct_fields__.index(_FIELDS.get(name, name)) for name in _MUTABLE}
INSERT_EVENT: Final = insert(event).inline()
_INSERTS: Final = {event: INSERT_EVENT, attempt: insert(attempt)}
_POSTGRESQL: Final[Dialect] = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's is not typed
# What a document holds as it is: most values of a row are of these.
_AS_IS: Final = frozenset((str, int, float, type(None)))
# Of a time without its zone.
_LENGTH: Final = len("2026-01-31 00:00:00.000000")
_encode: Final = msgspec.json.Encoder().encode


async def put(connection: AsyncConnection, move: Move, uid: str) -> bool:
    """Write a move where its head still stands; the row that only it can add comes last."""
    return await connection.run_sync(_put, [(move, uid)], _update_one, _insert_one)


async def put_locked(connection: AsyncConnection, move: Move, uid: str) -> None:
    """Write a move from the head that this transaction has locked and read, so that nothing can fence it."""
    written = await put(connection, move, uid)
    assert written  # noqa: S101 - see above


async def put_all(connection: AsyncConnection, moves: Sequence[tuple[Move, str]]) -> bool:
    """Write moves of different workflows, in the order of their ids, each with its uid; False where one is fenced.

    Then the transaction is good for nothing but to be rolled back.
    """
    return await connection.run_sync(_put, moves, _update_all, _insert_all)


def is_one_request(move: Move) -> bool:
    """Tell whether a move changes nothing but its head and the history."""
    return move.signal is None and not tells_parent(move.before, move.after)


def put_at_once(connection: Connection, move: Move, uid: str) -> bool:
    """Write a move that is one request where its head still stands, and commit it."""
    columns = _changed_columns([move])
    head = dict(zip(columns, _values(move.after, columns), strict=True))
    fence = dict(zip(FENCE, _held_by(move.before), strict=True))
    rows: list[tuple[Table, dict[str, Any]]] = []
    if move.noted is not None:
        rows.append((event, codec.event_row(move.after, move.noted, uid, move.before.state)))
    if move.ended is not None:
        rows.append((attempt, codec.attempt_row(move, move.ended)))
    return request.execute(connection, head, fence, rows) == 1


def _put(
    connection: Connection, moves: Sequence[tuple[Move, str]], update_heads: "_UpdateHeads", insert_rows: "_InsertRows"
) -> bool:
    columns = _changed_columns(move for move, _ in moves)
    heads = [(*_held_by(move.before), *_values(move.after, columns)) for move, _ in moves]
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
        insert_rows(connection, event, noted)
    if ended:
        insert_rows(connection, attempt, ended)
    return True


def _changed_columns(moves: Iterable[Move]) -> Names:
    """Return the columns that any of the moves changes; those that do not change it write what it has."""
    differ = [map(is_not, astuple(move.before), astuple(move.after)) for move in moves]
    changed = [any(each) for each in zip(*differ, strict=True)]
    return tuple([column for column, place in _PLACES.items() if changed[place]])


def _held_by(head: Head) -> Iterable[Any]:
    return ["" if value is None else value for value in _fields(FENCE)(head)]


def _values(head: Head, columns: Names) -> Iterable[Any]:
    if "wait" in columns:
        row = codec.columns_of(head)
        return [row[name] for name in columns]
    values: Iterable[Any] = _fields(columns)(head)
    return values


@cache
def _fields(columns: Names) -> Callable[[Head], tuple[Any, ...]]:
    names = [_FIELDS.get(name, name) for name in columns]
    # Of a lone one it would give the value itself.
    return attrgetter(*names) if len(names) > 1 else lambda head: (getattr(head, names[0]),)


# --- one, by its values

_UpdateHeads = Callable[[Connection, Names, Sequence[tuple[Any, ...]]], int]
_InsertRows = Callable[[Connection, Table, Sequence[dict[str, Any]]], None]


def _changed(connection: Connection, statement: Any, values: Any) -> int:
    result = connection.execute(statement, values)
    return result.rowcount


def _update_one(connection: Connection, columns: Names, rows: Sequence[tuple[Any, ...]]) -> int:
    names = (*(f"w_{name}" for name in FENCE), *columns)
    return _changed(connection, _fenced(FENCE, columns), dict(zip(names, rows[0], strict=True)))


def _insert_one(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    connection.execute(_INSERTS[table], rows)


@cache
def _fenced(fence: Names, columns: Names) -> Update:
    """Return the statement that changes these columns of one head."""
    columns_held = [workflow.c[name] for name in fence]
    held = [func.coalesce(column, "") if column.nullable else column for column in columns_held]
    where = [each == bindparam(f"w_{name}") for each, name in zip(held, fence, strict=True)]
    return update(workflow).where(*where).values({name: bindparam(name) for name in columns})


# --- many, as a document


def _update_all(connection: Connection, columns: Names, rows: Sequence[tuple[Any, ...]]) -> int:
    return _changed(connection, _update(connection.dialect.name, FENCE, columns), _document(rows))


def _insert_all(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    statement = _insert(connection.dialect.name, table, tuple(rows[0]))
    connection.execute(statement, _document(row.values() for row in rows))


def _document(rows: Iterable[Iterable[Any]]) -> dict[str, str]:
    document = _encode([[value if type(value) in _AS_IS else _plain(value) for value in row] for row in rows])
    return {"rows": document.decode()}


def _plain(value: Any) -> Any:
    """Return a value for a document: a time as SQLite keeps it, true and false as numbers, which they are on MySQL."""
    if isinstance(value, datetime):
        in_utc = value if value.tzinfo is UTC else value.astimezone(UTC)
        return in_utc.isoformat(" ", "microseconds")[:_LENGTH]
    return int(value) if isinstance(value, bool) else value


@cache
def _update(kind: str, fence: Names, columns: Names) -> TextClause:
    """Return the statement that changes these columns of heads that stand."""
    rows = _ROWS[kind]([workflow.c[name] for name in (*fence, *columns)])
    held = " AND ".join(_held(kind, workflow.c[name], f"v.c{n}") for n, name in enumerate(fence))
    assigned = [(name, f"v.c{n}") for n, name in enumerate(columns, len(fence))]
    if kind == "mysql":
        # In the order of the document; else it might lock all rows.
        values = ", ".join(f"w.`{name}` = {value}" for name, value in assigned)
        return text(f"UPDATE {rows} AS v STRAIGHT_JOIN awfe_workflow AS w ON {held} SET {values}")  # noqa: S608 - names of our own columns
    values = ", ".join(f"{name} = {value}" for name, value in assigned)
    return text(f"UPDATE awfe_workflow AS w SET {values} FROM {rows} AS v WHERE {held}")  # noqa: S608 - names of our own columns


@cache
def _insert(kind: str, table: Table, columns: Names) -> TextClause:
    """Return the statement that adds rows to a table."""
    rows = _ROWS[kind]([table.c[name] for name in columns])
    quote = "`" if kind == "mysql" else '"'
    into = ", ".join(f"{quote}{name}{quote}" for name in columns)
    return text(f"INSERT INTO {table.name} ({into}) SELECT * FROM {rows} AS v")  # noqa: S608 - names of our own columns


def _held(kind: str, column: Column[Any], given: str) -> str:
    if kind == "mysql" and isinstance(column.type, String):
        # Compared by their bytes: the collation of the column may be another one than that of the connection.
        given = f"CAST({given} AS BINARY)"
    return f"COALESCE(w.{column.name}, '') = {given}" if column.nullable else f"w.{column.name} = {given}"


def _in_mysql(columns: Iterable[Column[Any]]) -> str:
    given = (f"c{n} {_mysql_type(column)} PATH '$[{n}]' ERROR ON ERROR" for n, column in enumerate(columns))
    return f"JSON_TABLE(:rows, '$[*]' COLUMNS ({', '.join(given)}))"


def _in_postgresql(columns: Iterable[Column[Any]]) -> str:
    given = (f"CAST(r->>{n} AS {_postgresql_type(column)}) AS c{n}" for n, column in enumerate(columns))
    return f"(SELECT {', '.join(given)} FROM jsonb_array_elements(CAST(:rows AS jsonb)) AS r)"  # noqa: S608 - numbers and types


def _in_sqlite(columns: Iterable[Column[Any]]) -> str:
    given = (f"json_extract(value, '$[{n}]') AS c{n}" for n, _ in enumerate(columns))
    return f"(SELECT {', '.join(given)} FROM json_each(:rows))"  # noqa: S608 - only numbers


_ROWS: Final = {"mysql": _in_mysql, "postgresql": _in_postgresql, "sqlite": _in_sqlite}


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
