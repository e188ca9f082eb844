"""The moves of many workflows in one transaction: one statement for their heads, one for the rows of each table.

Each head is guarded as that of a single move is; how many were changed tells whether all still stood. No statement here
can bring back a row that is gone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final

import msgspec
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
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncSession

from awfe.domain.moves import Head, Move
from awfe.persistence import codec
from awfe.persistence.schema import UtcDateTime, attempt, event, workflow
from awfe.persistence.waiting import take, tell_parent

Row = Mapping[str, Any]
# Of a column, the field of the head that it holds, where they have other names or are more than one.
_FIELDS: Final = {"run_token": "token", "wait_topic": "wait"}
MUTABLE: Final = tuple(
    column.name for column in workflow.c if column.name not in ("id", "name", "step_count", "created_at")
)
_READ: Final = tuple((name, _FIELDS.get(name, name)) for name in MUTABLE)
_W: Final = workflow.c
_FENCE: Final = (
    _W.id == bindparam("w_id"),
    _W.run_token == bindparam("w_token"),
    _W.run_id == bindparam("w_run_id"),
    _W.rev == bindparam("w_rev"),
    func.coalesce(_W.request, "") == bindparam("w_request"),
)
_GUARDS: Final = {
    "w_id": _W.id,
    "w_token": _W.run_token,
    "w_run_id": _W.run_id,
    "w_rev": _W.rev,
    "w_request": _W.request,
}
INSERT_ATTEMPT: Final = insert(attempt)
INSERT_EVENT: Final = insert(event).inline()
_POSTGRESQL: Final[Dialect] = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's is not typed
_encode: Final = msgspec.json.Encoder().encode


def guard(head: Head) -> dict[str, Any]:
    """Return what must still be true of the row."""
    return {
        "w_id": head.id,
        "w_token": head.token,
        "w_run_id": head.run_id,
        "w_rev": head.rev,
        "w_request": head.request or "",
    }


@cache
def fenced(columns: tuple[str, ...]) -> Update:
    """Return the statement that changes these columns of one head, where it still stands."""
    return update(workflow).where(*_FENCE).values({name: bindparam(name) for name in columns})


async def put_all(session: AsyncSession, kind: str, moves: Sequence[tuple[Move, str]]) -> bool:
    """Write moves of different workflows, in the order of their ids, each with its uid; False where one is fenced.

    Then the transaction is good for nothing but to be rolled back.
    """
    columns = _changed(moves)
    rows = [guard(move.before) | {name: values[name] for name in columns} for move, values in _after(moves)]
    if await _BY_KIND[kind][0](session, columns, rows) != len(rows):
        return False
    for move, uid in moves:
        if move.signal is not None:
            await take(session, move.signal, move.after)
        await tell_parent(session, move.before, move.after, uid, move.at)
    noted = [(move, move.noted, uid) for move, uid in moves if move.noted is not None]
    ended = [(move, move.ended) for move, _ in moves if move.ended is not None]
    insert_into = _BY_KIND[kind][1]
    if noted:
        lines = [codec.event_row(move.after, line, uid, move.before.state) for move, line, uid in noted]
        await insert_into(session, INSERT_EVENT, lines)
    if ended:
        await insert_into(session, INSERT_ATTEMPT, [codec.attempt_row(move, each) for move, each in ended])
    return True


def _changed(moves: Iterable[tuple[Move, str]]) -> tuple[str, ...]:
    """Return the columns that any of the moves changes: what the fence holds, the others hold too."""
    pairs = [(move.before, move.after) for move, _ in moves]
    return tuple(
        column
        for column, name in _READ
        if any(getattr(before, name) is not getattr(after, name) for before, after in pairs)
    )


def _after(moves: Iterable[tuple[Move, str]]) -> Iterable[tuple[Move, Row]]:
    return ((move, codec.columns_of(move.after)) for move, _ in moves)


# --- how each database is told many rows at once


async def _update_each(session: AsyncSession, columns: tuple[str, ...], rows: Sequence[Row]) -> int:
    result = await session.execute(fenced(columns), rows)
    return result.rowcount  # type: ignore[attr-defined,no-any-return]  # the result of an UPDATE


async def _insert_each(session: AsyncSession, statement: Insert, rows: Sequence[Row]) -> None:
    await session.execute(statement, rows)


async def _update_from_json(session: AsyncSession, columns: tuple[str, ...], rows: Sequence[Row]) -> int:
    document = _encode([[_plain(value) for value in row.values()] for row in rows]).decode()
    result = await session.execute(_json_update(columns), {"rows": document})
    return result.rowcount  # type: ignore[attr-defined,no-any-return]  # the result of an UPDATE


async def _update_from_arrays(session: AsyncSession, columns: tuple[str, ...], rows: Sequence[Row]) -> int:
    result = await session.execute(_array_update(columns), _arrays(rows))
    return result.rowcount  # type: ignore[attr-defined,no-any-return]  # the result of an UPDATE


async def _insert_from_arrays(session: AsyncSession, statement: Insert, rows: Sequence[Row]) -> None:
    table: Any = statement.table
    await session.execute(_array_insert(table, tuple(rows[0])), _arrays(rows))


def _arrays(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Return the values of each column."""
    return {name: [_stored(row[name]) for row in rows] for name in rows[0]}


def _stored(value: Any) -> Any:
    """Return a value as the columns keep it: a time without its zone."""
    return UtcDateTime.stored(value) if hasattr(value, "tzinfo") else value


def _plain(value: Any) -> Any:
    """Return a value for a document: true and false are numbers on MySQL."""
    stored = _stored(value)
    return int(stored) if isinstance(stored, bool) else stored


@cache
def _json_update(columns: tuple[str, ...]) -> TextClause:
    """Return the statement for MySQL and MariaDB, which join a document in its order; else they might lock all rows."""
    listed = [*_GUARDS.items(), *((name, _W[name]) for name in columns)]
    types = ", ".join(
        f"{name if name in _GUARDS else f'n_{name}'} {_mysql_type(column)} PATH '$[{index}]' ERROR ON ERROR"
        for index, (name, column) in enumerate(listed)
    )
    # Compared by their bytes: the collation of the column may be another one than that of the connection.
    fence = """w.id = v.w_id AND w.run_token = v.w_token AND w.run_id = CAST(v.w_run_id AS BINARY) AND w.rev = v.w_rev
        AND COALESCE(w.request, '') = CAST(v.w_request AS BINARY)"""
    assigned = ", ".join(f"w.`{name}` = v.n_{name}" for name in columns)
    table = f"JSON_TABLE(:rows, '$[*]' COLUMNS ({types}))"
    return text(f"UPDATE {table} AS v STRAIGHT_JOIN awfe_workflow AS w ON {fence} SET {assigned}")  # noqa: S608 - names of our own columns


@cache
def _array_update(columns: tuple[str, ...]) -> TextClause:
    listed = [*_GUARDS.items(), *((name, _W[name]) for name in columns)]
    names = ", ".join(name if name in _GUARDS else f"n_{name}" for name, _ in listed)
    assigned = ", ".join(f"{name} = v.n_{name}" for name in columns)
    return text(
        f"UPDATE awfe_workflow AS w SET {assigned} FROM {_unnested(listed)} AS v({names}) "  # noqa: S608 - names of our own columns
        "WHERE w.id = v.w_id AND w.run_token = v.w_token AND w.run_id = v.w_run_id AND w.rev = v.w_rev "
        "AND COALESCE(w.request, '') = v.w_request"
    )


@cache
def _array_insert(table: Table, columns: tuple[str, ...]) -> TextClause:
    names = ", ".join(columns)
    unnested = _unnested([(name, table.c[name]) for name in columns])
    return text(f"INSERT INTO {table.name} ({names}) SELECT * FROM {unnested}")  # noqa: S608 - names of our own columns


def _unnested(listed: Iterable[tuple[str, Column[Any]]]) -> str:
    return f"unnest({', '.join(f'CAST(:{name} AS {_postgresql_type(column)}[])' for name, column in listed)})"


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


_Update = Callable[[AsyncSession, tuple[str, ...], Sequence[Row]], Any]
_Insert = Callable[[AsyncSession, Insert, Sequence[Row]], Any]
_BY_KIND: Final[dict[str, tuple[_Update, _Insert]]] = {
    "sqlite": (_update_each, _insert_each),
    "mysql": (_update_from_json, _insert_each),
    "postgresql": (_update_from_arrays, _insert_from_arrays),
}
