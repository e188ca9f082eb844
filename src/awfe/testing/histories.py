"""Workflows as the tables tell them, read with SQL of its own: for those who check what awfe wrote."""

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import URL, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from awfe import urls

_CHUNK: Final = 500
_REQUESTS: Final = ("pause", "stop")
_SENT: Final = ("signal", "approve")
ACTIVE: Final = ("running", "rolling_back")
ENDED: Final = ("completed", "rolled_back")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a workflow's log: an attempt that ended (`token` is the one it was committed with) or an event."""

    rev: int
    cause: str
    position: int
    attempt: int | None
    before: str | None
    after: str
    changes: str | None
    token: int | None = None
    reason: str | None = None
    detail: str | None = None
    uid: str | None = None

    @property
    def is_move(self) -> bool:
        """Whether it tells of a move; what is asked or sent is none, and has the revision of the last one."""
        return not self.is_request and self.cause not in _SENT

    @property
    def is_request(self) -> bool:
        """Whether it asks a runner for something; what waits has none, and is moved at once."""
        return self.cause in _REQUESTS and self.before in ACTIVE

    @property
    def what(self) -> str:
        """Name the line in a sentence."""
        return f"{self.cause} at revision {self.rev}"


@dataclass(slots=True)
class History:
    """One workflow as its tables tell it; `lines` are in the order in which they were committed, `signals` by age."""

    row: Mapping[str, Any]
    steps: list[Mapping[str, Any]] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    signals: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The workflow's name."""
        return str(self.row["name"])

    @property
    def attempts(self) -> list[Line]:
        """The attempts that ended."""
        return [line for line in self.lines if line.token is not None]


@asynccontextmanager
async def snapshot(url: str | URL) -> AsyncIterator[AsyncConnection]:
    """Connect, and see one state of the database from then on, whatever others write."""
    engine = create_async_engine(urls.resolve(url), poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                await connection.exec_driver_sql("BEGIN")
            else:
                await connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection
            await connection.rollback()
    finally:
        await engine.dispose()


async def histories(connection: AsyncConnection, names: Collection[str] | None = None) -> AsyncIterator[History]:
    """Yield each workflow, or each of these, with all that the tables hold about it, by age."""
    known = (await connection.execute(text("SELECT id, name FROM awfe_workflow ORDER BY id"))).all()
    wanted = None if names is None else frozenset(names)
    ids = [row.id for row in known if wanted is None or row.name in wanted]
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        bounds = chunk[0], chunk[-1]
        kept = frozenset(chunk)
        rows = await _rows(connection, "awfe_workflow", "id", *bounds)
        read = {row["id"]: History(row) for row in rows if row["id"] in kept}
        for step in await _rows(connection, "awfe_step", "workflow_id", *bounds):
            if step["workflow_id"] in read:
                read[step["workflow_id"]].steps.append(step)
        for signal in await _rows(connection, "awfe_signal", "workflow_id", *bounds):
            if signal["workflow_id"] in read:
                read[signal["workflow_id"]].signals.append(signal)
        lines: dict[int, list[tuple[tuple[int, int, int], Line]]] = defaultdict(list)
        for row in await _rows(connection, "awfe_attempt", "workflow_id", *bounds):
            lines[row["workflow_id"]].append(((row["rev"], 0, row["attempt"]), _attempt_line(row)))
        for row in await _rows(connection, "awfe_event", "workflow_id", *bounds):
            lines[row["workflow_id"]].append(((row["rev"], 1, row["id"]), _event_line(row)))
        for key, history in read.items():
            history.steps.sort(key=lambda step: step["position"])
            history.signals.sort(key=lambda signal: signal["id"])
            history.lines = [line for _, line in sorted(lines[key], key=lambda pair: pair[0])]
            yield history


def _attempt_line(row: Mapping[str, Any]) -> Line:
    columns = ("rev", "position", "attempt", "before", "after", "changes")
    return Line(cause=f"step_{row['outcome']}", token=row["run_token"], **{column: row[column] for column in columns})


def _event_line(row: Mapping[str, Any]) -> Line:
    columns = ("rev", "cause", "position", "attempt", "before", "after", "changes", "reason", "detail", "uid")
    return Line(**{column: row[column] for column in columns})


async def _rows(connection: AsyncConnection, table: str, key: str, first: int, last: int) -> list[Mapping[str, Any]]:
    query = text(f"SELECT * FROM {table} WHERE {key} BETWEEN :first AND :last")  # noqa: S608 - names of this module
    return [dict(row) for row in (await connection.execute(query, {"first": first, "last": last})).mappings()]
