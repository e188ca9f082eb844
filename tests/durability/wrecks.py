"""Rows that nobody may have written: each wreck is what somebody did by SQL to a workflow, and which verbs must say so.

A wreck is done to a workflow of three steps that is paused before its second. It names what must be in the message.
"""

import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, Table, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from awfe import BaseStep, Context, Engine, WorkflowPaused
from awfe.persistence.schema import attempt, event, metadata, step, workflow
from tests.conformance.helpers import ORPHAN
from tests.conformance.steps import Note, World
from tests.databases import DIALECTS, Database

QUICK: dict[str, Any] = {"poll_interval": 0.05, "takeover_delay": 0.0, "stop_grace": 5.0, "connect_retry_for": 5.0}
OTHERS = (step, attempt, event)
DEEP = "[" * 10_000 + "]" * 10_000
NO_JSON = ("", "{", "[1]", "5", "null", '"text"', "\N{SNOWMAN}", '{"set": nan}', DEEP)
NO_CHANGES = (*NO_JSON, '{"set": []}', '{"unset": 5}', '{"unset": [5]}', f'{{"set": {{"a": {DEEP}}}}}')
NO_WAITS = (*NO_JSON, '{"kind": "gone"}', '{"kind": "due", "signal": 5}', '{"kind": "signal", "default": 5}')
NO_POLICIES = (*NO_JSON, '{"self": 1}', '{"timeout": "soon"}', '{"retry": 3}', '{"retry": {"attempts": 0}}')

READ = frozenset(("get", "wait", "run", "start", "reset_from", "skip", "update_context", "rollback"))
STEPS = READ
LOG = READ | {"history", "reset"}
HEAD = LOG | {"pause", "stop", "signal"}

ASKED = "UPDATE awfe_workflow SET request = 'stop', stop_grace = 0 WHERE id = :id"
RESUMABLE = "UPDATE awfe_workflow SET resumable = TRUE WHERE id = :id"


@dataclass(frozen=True)
class Wreck:
    """One thing that was done, and the verbs that must refuse with `WorkflowCorrupt`; the others may do their work."""

    says: str
    sql: tuple[str, ...]
    breaks: frozenset[str]
    values: dict[str, Any] = field(default_factory=dict)
    only: tuple[str, ...] = DIALECTS
    runs: bool = False

    def __str__(self) -> str:
        """Tell what was done, in short."""
        return f"{'; '.join(self.sql)} {self.values}"[:200]


def head(what: str, says: str, *only: str, before: tuple[str, ...] = (), **values: Any) -> Wreck:
    """Change columns of the workflow's own row."""
    sql = (*before, f"UPDATE awfe_workflow SET {what} WHERE id = :id")
    return Wreck(says, sql, HEAD, values, only or DIALECTS)


def steps(sql: str, says: str = "awfe_step", *only: str) -> Wreck:
    """Change the list of its steps."""
    return Wreck(says, (sql,), STEPS, only=only or DIALECTS)


def saved(column: str, value: str) -> Wreck:
    """Change what is saved of its second step."""
    sql = f"UPDATE awfe_step SET {column} = :value WHERE workflow_id = :id AND position = 2"
    return Wreck(f"awfe_step.{column} of step 2", (sql,), STEPS, {"value": value})


def log(table: str, what: str, breaks: frozenset[str] = LOG, *only: str, says: str = "", **values: Any) -> Wreck:
    """Change a line of its log."""
    which = "cause = 'created'" if table == "awfe_event" else "position = 1"
    sql = f"UPDATE {table} SET {what} WHERE workflow_id = :id AND {which}"
    return Wreck(says or table, (sql,), breaks, values, only or DIALECTS)


def _times(column: str) -> Iterable[tuple[str, str]]:
    for value in ("'gone'", "5", "x'00ff'", "CAST(x'ff' AS TEXT)", "'2020-02-31 00:00:00'"):
        yield f"{column} = {value}", "sqlite"
    for value in ("'0000-00-00 00:00:00'", "'2020-02-31 00:00:00'"):
        yield f"{column} = {value}", "mysql"
    for value in ("'20000-01-01'", "'0044-03-15 BC'"):
        yield f"{column} = {value}", "postgresql"


HEADS = [
    head("state = 'gone'", "state: Invalid enum value 'gone'"),
    head("state = ''", "awfe_workflow.state"),
    head("step_state = 'gone'", "awfe_workflow.step_state"),
    head("step_count = 0", "position 2 of 0 steps"),
    head("step_count = -3", "awfe_workflow.step_count"),
    head("position = 0", "awfe_workflow.position"),
    head("position = -2", "awfe_workflow.position"),
    head("position = 4", "position 4 of 3 steps"),
    head("position = NULL", "state paused, but position NULL"),
    head("position = NULL, step_state = NULL", "state paused, but position NULL"),
    head("position = NULL, step_state = NULL", "state running, but position NULL", before=(ORPHAN,)),
    head("step_state = NULL", "position 2, but step_state NULL"),
    head("owner = NULL", "state running, but owner NULL", before=(ORPHAN,)),
    head("request = 'explode'", "request: Invalid enum value 'explode'", before=(ORPHAN,)),
    head("attempt = -1", "awfe_workflow.attempt"),
    head("rev = -1", "awfe_workflow.rev"),
    head("rev = 9223372036854775807", "awfe_workflow.rev"),
    head("run_token = -1", "awfe_workflow.run_token"),
    head("stop_grace = -1", "awfe_workflow.stop_grace"),
    head("stop_grace = 'NaN'", "awfe_workflow.stop_grace", "postgresql"),
    head("rev = 'x'", "awfe_workflow.rev", "sqlite"),
    head("position = 1.5", "awfe_workflow.position", "sqlite"),
    head("run_id = x'00'", "awfe_workflow.run_id", "sqlite"),
    head("owner = x'00'", "awfe_workflow.owner", "sqlite"),
    *(head(what, "", only) for what, only in _times("created_at")),
    *(head(what, "", only) for what, only in _times("scheduled_at")),
    head("step_state = 'waiting'", "step_state waiting, but wait NULL"),
    head("""wait = '{"kind":"due"}'""", "step_state pending, but wait not NULL"),
    *(head("step_state = 'waiting', wait = :value", "awfe_workflow.wait", value=value) for value in NO_WAITS),
    head("waiter = x'00'", "awfe_workflow.waiter", "sqlite"),
    head("parent_id = 'x'", "awfe_workflow.parent_id", "sqlite"),
]
LISTS = [
    steps("DELETE FROM awfe_step WHERE workflow_id = :id", "missing [1, 2, 3], too many []"),
    steps("DELETE FROM awfe_step WHERE workflow_id = :id AND position = 2", "missing [2], too many []"),
    steps("UPDATE awfe_step SET position = 7 WHERE workflow_id = :id AND position = 2", "missing [2], too many [7]"),
    steps("UPDATE awfe_step SET position = -1 WHERE workflow_id = :id AND position = 1", "missing [1], too many [-1]"),
    steps(
        "INSERT INTO awfe_step (workflow_id, position, name, impl, args, policies)"
        " VALUES (:id, 4, 'Note', 'tests.conformance.steps:Note', '{\"name\": \"four\"}', '{}')",
        "missing [], too many [4]",
    ),
    steps("UPDATE awfe_workflow SET step_count = 2 WHERE id = :id", "missing [], too many [3]"),
    steps("UPDATE awfe_workflow SET step_count = 5 WHERE id = :id", "missing [4, 5], too many []"),
    steps("UPDATE awfe_step SET position = 'x' WHERE workflow_id = :id AND position = 2", "awfe_step", "sqlite"),
    steps("UPDATE awfe_step SET args = x'7b7d' WHERE workflow_id = :id AND position = 2", "awfe_step", "sqlite"),
    steps("UPDATE awfe_step SET args = CAST(x'ff' AS TEXT) WHERE workflow_id = :id", "", "sqlite"),
    *(saved("args", value) for value in NO_JSON),
    # What `get` shows has no policies in it.
    *(Wreck(w.says, w.sql, frozenset(("run", "start")), w.values) for w in (saved("policies", v) for v in NO_POLICIES)),
]
LOGS = [
    *(log("awfe_event", "changes = :value", value=value) for value in NO_CHANGES),
    *(log("awfe_attempt", "changes = :value", value=value) for value in NO_CHANGES),
    log("awfe_event", "changes = :value", LOG, "sqlite", "mysql", value='{"set": {"a": "x\0y"}}'),
    log("awfe_event", "cause = 'gone'"),
    log("awfe_event", "position = -1", LOG - {"history"}),
    log("awfe_event", "rev = -1", LOG - {"history"}),
    log("awfe_event", "attempt = -1", LOG - {"history"}),
    log("awfe_event", "position = 'x'", LOG - {"history"}, "sqlite"),
    log("awfe_event", "changes = CAST(x'ff' AS TEXT)", LOG, "sqlite", says="its rows"),
    Wreck("awfe_event", ("DELETE FROM awfe_event WHERE workflow_id = :id",), LOG - {"history"}),
    Wreck(
        "attempt 1 runs, and has ended",
        (ORPHAN, "UPDATE awfe_workflow SET position = 1 WHERE id = :id"),
        HEAD - {"get", "history", "signal"},
    ),
    log("awfe_attempt", "outcome = 'gone'"),
    log("awfe_attempt", "outcome = 'running'"),
    log("awfe_attempt", "outcome = 'waiting'", LOG - {"history"}),
    log("awfe_attempt", "attempt = -1", LOG - {"history"}),
    log("awfe_attempt", "after = 'gone'", frozenset(("history",))),
    log("awfe_event", "after = 'gone'", frozenset(("history",))),
    *(log("awfe_attempt", what, frozenset(("history", "get")), only, says=" ") for what, only in _times("ended_at")),
    *(log("awfe_event", what, frozenset(("history",)), only, says=" ") for what, only in _times("at")),
]
# What no step asks for is never decoded in a run: that a value can't be is seen when it is to be shown.
VALUES = [
    Wreck(w.says, w.sql, w.breaks, w.values, runs=True)
    for w in (
        log("awfe_event", "changes = :value", READ | {"history"}, value=value, says=" ")
        for value in ('{"set": {"b": 1e999}}', '{"set": {"b": 1E+400}}')
    )
]
ALL = [*HEADS, *LISTS, *LOGS, *VALUES]


async def without_checks(database: Database) -> None:
    """Take the CHECK constraints off, as somebody with a grudge would do."""
    if database.dialect != "sqlite":
        for table in metadata.tables.values():
            for constraint in table.constraints:
                if isinstance(constraint, CheckConstraint):
                    await database.execute(f"ALTER TABLE {table.name} DROP CONSTRAINT {constraint.name}")


class Forger:
    """Writes rows that the database would refuse, all in one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        """Write through this connection."""
        self._connection = connection
        self._like: dict[Table, list[dict[str, Any]]] = {}

    async def learn(self, name: str) -> None:
        """Take the rows of a workflow as the ones to copy."""
        mine = workflow.c.name == name
        number = (await self._connection.execute(select(workflow.c.id).where(mine))).scalar_one()
        for table in (workflow, *OTHERS):
            which = mine if table is workflow else table.c.workflow_id == number
            rows = (await self._connection.execute(select(table).where(which))).mappings()
            self._like[table] = [{key: row[key] for key in row if key != "id"} for row in rows]

    async def copy(self, name: str) -> int:
        """Copy what was learned, under another name; returns the id."""
        (head,) = self._like[workflow]
        made = await self._connection.execute(insert(workflow), {**head, "name": name})
        number = int(made.inserted_primary_key[0])  # type: ignore[index]  # it has one
        for table in OTHERS:
            new = [{**row, "workflow_id": number} for row in self._like[table]]
            for row in new:
                if "uid" in row:
                    row["uid"] = secrets.token_hex(16)
            await self._connection.execute(insert(table), new)
        return number

    async def write(self, sql: Iterable[str], **values: Any) -> None:
        """Run statements, each with what it needs of the values."""
        for statement in sql:
            used = {name: value for name, value in values.items() if f":{name}" in statement}
            await self._connection.execute(text(statement), used)


@asynccontextmanager
async def forging(database: Database) -> AsyncIterator[Forger]:
    """Yield somebody who writes what he likes; it is committed at the end."""
    unguarded = {"sqlite": "PRAGMA ignore_check_constraints = ON", "mysql": "SET sql_mode = 'ALLOW_INVALID_DATES'"}
    async with database._engine.begin() as connection:
        if first := unguarded.get(database.dialect):
            await connection.exec_driver_sql(first)
        yield Forger(connection)


@dataclass
class Pauses(BaseStep, name="tests.hostile.Pauses"):
    """Asks that its own workflow pauses after it."""

    engine: ClassVar[Engine]

    async def work(self, ctx: Context) -> None:
        """Ask."""
        ctx["a"] = ctx.workflow
        await Pauses.engine.pause(ctx.workflow)


@asynccontextmanager
async def attacked(database: Database) -> AsyncIterator[Engine]:
    """Yield an engine on a database that takes any row, with a workflow "ok" that rests before its second step."""
    World.now = World()
    async with Engine(database.url, **QUICK) as engine:
        Pauses.engine = engine
        await without_checks(database)
        await engine.create_workflow("ok", {"b": 1}, [Pauses, Note("two"), Note("three")])
        with suppress(WorkflowPaused):
            await engine.run("ok")
        World.now.calls.clear()
        yield engine


async def wrecked(database: Database, chosen: list[Wreck], *first: str, prefix: str = "bad") -> dict[str, Wreck]:
    """Copy the workflow for each wreck that can be done to this database, and do it."""
    made = {f"{prefix}{n:03}": wreck for n, wreck in enumerate(chosen) if database.dialect in wreck.only}
    async with forging(database) as forger:
        await forger.learn("ok")
        for name, wreck in made.items():
            number = await forger.copy(name)
            await forger.write((*first, *wreck.sql), id=number, **wreck.values)
    return made


async def forge(database: Database, sql: str) -> None:
    """Run one statement that the database would refuse."""
    async with forging(database) as forger:
        await forger.write([sql])
