"""Workflows that wait: for a time, a signal or their beginning; and the signals that are sent to them."""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, insert, or_, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from awfe.domain import events, verbs
from awfe.domain.moves import By, Head, Noted
from awfe.domain.records import Event
from awfe.domain.states import ENDED, Cause, Verb, WorkflowState
from awfe.domain.values import decode
from awfe.persistence import codec
from awfe.persistence.lookup import LOCKED_BY_NAME, fetched, found
from awfe.persistence.reads import Reads
from awfe.persistence.schema import event, signal, workflow
from awfe.persistence.session import Database

_SENT: Final = exists().where(
    signal.c.workflow_id == workflow.c.id,
    signal.c.topic == workflow.c.wait_topic,
    signal.c.taken_rev.is_(None),
)


def _is_ready() -> ColumnElement[bool]:
    due = or_(workflow.c.due_at <= bindparam("now", type_=workflow.c.due_at.type), _SENT)
    return and_(workflow.c.state == WorkflowState.WAITING.value, due)


_HERE: Final = and_(workflow.c.waiter == bindparam("owner"), workflow.c.state == WorkflowState.WAITING.value)
_READY_HERE: Final = select(workflow).where(workflow.c.waiter == bindparam("owner"), _is_ready())
_HOW_MANY: Final = select(func.count()).where(_HERE)
_NAMES: Final = select(workflow.c.name).where(_HERE)
_IS_READY: Final = select(workflow.c.id).where(workflow.c.id == bindparam("id"), _is_ready())
_TO_TAKE_UP: Final = (
    select(workflow.c.name, workflow.c.id)
    .where(
        or_(
            and_(workflow.c.state == WorkflowState.PAUSED.value, workflow.c.resumable.is_(True)),
            _is_ready(),
            and_(
                workflow.c.state == WorkflowState.PENDING.value,
                workflow.c.scheduled_at <= bindparam("now", type_=workflow.c.scheduled_at.type),
            ),
        )
    )
    .order_by(workflow.c.id)
)
_ATTACH: Final = (
    update(workflow)
    .where(workflow.c.id == bindparam("w_id"), workflow.c.state == WorkflowState.WAITING.value)
    .values(waiter=bindparam("waiter"))
)
_WAITER: Final = select(workflow.c.waiter).where(workflow.c.id == bindparam("id"))
_CHILDREN: Final = select(workflow.c.name).where(workflow.c.parent_id == bindparam("id"))
_SEND: Final = insert(signal).inline()
_EARLIEST: Final = (
    select(signal.c.id, signal.c.payload)
    .where(
        signal.c.workflow_id == bindparam("id"),
        signal.c.topic == bindparam("topic"),
        signal.c.taken_rev.is_(None),
    )
    .order_by(signal.c.id)
    .limit(1)
)
_TAKE: Final = update(signal).where(signal.c.id == bindparam("s_id")).values(taken_rev=bindparam("rev"))
_SENT_ALREADY: Final = select(signal.c.id).where(signal.c.uid == bindparam("uid"))
# What a workflow sends its parent when it rests.
CHILD: Final = "awfe.child"
_TELL: Final = insert(signal).from_select(
    ["uid", "workflow_id", "topic", "payload", "at"],
    select(
        bindparam("uid", type_=signal.c.uid.type),
        workflow.c.id,
        bindparam("topic", type_=signal.c.uid.type),
        bindparam("payload", type_=signal.c.uid.type),
        bindparam("at", type_=signal.c.at.type),
    )
    .where(workflow.c.id == bindparam("parent"))
    # Who deletes the parent at this moment deletes its signals, too.
    .with_for_update(),
)
_TELLS_PARENT: Final = (*ENDED, WorkflowState.ERROR, WorkflowState.STOPPED)


@dataclass(frozen=True, slots=True)
class Sent:
    """A signal that nobody has taken yet; `payload` is JSON."""

    id: int
    payload: bytes


async def sent(connection: AsyncConnection, head: Head) -> Sent | None:
    """Return the earliest signal that a workflow waits for and that has come."""
    if head.wait is None or head.wait.signal is None:
        return None
    rows = await fetched(connection, head.name, _EARLIEST, {"id": head.id, "topic": head.wait.signal})
    if not rows:
        return None
    with codec.Understanding(head.name, f"awfe_signal.payload of {rows[0].id}"):
        payload = str.encode(rows[0].payload)
        decode(payload)
    return Sent(rows[0].id, payload)


def take(connection: Connection, signal_id: int, head: Head) -> None:
    """Take a signal, in the transaction of the move that leads to this head: so each is taken once."""
    connection.execute(_TAKE, {"s_id": signal_id, "rev": head.rev})


def tells_parent(before: Head, head: Head) -> bool:
    """Tell whether the parent of a workflow is to hear of a move."""
    return head.parent_id is not None and head.state in _TELLS_PARENT and head.state is not before.state


def tell_parent(connection: Connection, before: Head, head: Head, uid: str, now: datetime) -> None:
    """Send the parent of a workflow what became of it; one that was deleted needs nothing."""
    if not tells_parent(before, head):
        return
    values = {"uid": uid, "topic": CHILD, "payload": f'"{head.state}"', "at": now}
    connection.execute(_TELL, {**values, "parent": head.parent_id})


class Waits:
    """What waits in one database; `tell` gets the lines of the history after each commit."""

    def __init__(self, database: Database, reads: Reads, tell: Callable[[Iterable[Event]], None]) -> None:
        """Look into this database."""
        self._database = database
        self._reads = reads
        self._tell = tell

    async def send(
        self,
        name: str,
        topic: str,
        payload: bytes,
        by: By,
        now: datetime,
        *,
        cause: Cause = Cause.SIGNAL,
        check: Callable[[Head], None] | None = None,
        once: bool = False,
    ) -> Head:
        """Store a signal; returns the head of its workflow. Raises what `check` of the locked head does.

        `once`: not beside another of its topic that nobody has taken yet.
        """
        uid = secrets.token_hex(16)
        noted = Noted(cause, now, 0, by, detail=topic)
        tried, stored = False, True

        async def work(connection: AsyncConnection) -> Head:
            nonlocal tried, noted, stored
            head = codec.head_of(found(await fetched(connection, name, LOCKED_BY_NAME, {"name": name}), name))
            if tried and (await connection.execute(_SENT_ALREADY, {"uid": uid})).one_or_none() is not None:
                return head
            tried = True
            verbs.check(head, Verb.SIGNAL)
            if check is not None:
                check(head)
            if once and await sent(connection, head) is not None:
                stored = False
                return head
            noted = Noted(cause, now, head.position or 0, by, detail=topic)
            values = {"uid": uid, "workflow_id": head.id, "topic": topic, "payload": payload.decode(), "at": now}
            await connection.execute(_SEND, {**values, "taken_rev": None})
            await connection.execute(insert(event).inline(), codec.event_row(head, noted, uid, head.state))
            return head

        head = await self._database.write(work)
        if stored:
            self._tell([events.of_noted(name, noted, head.state, head.state)])
        return head

    async def attach(self, head: Head, owner: str) -> None:
        """Let this engine go on with a workflow that waits."""
        await self._database.write(lambda connection: connection.execute(_ATTACH, {"w_id": head.id, "waiter": owner}))

    async def is_ready(self, head: Head, now: datetime) -> bool:
        """Tell whether what a workflow waits for is there."""
        key = {"id": head.id, "now": now}
        return bool(await self._database.read(lambda connection: fetched(connection, head.name, _IS_READY, key)))

    async def ready_here(self, owner: str, now: datetime) -> list[Head]:
        """Return the heads of what waits in this engine, and may go on."""
        return await self._reads.each(_READY_HERE.params(owner=owner, now=now), codec.head_of)

    async def count_here(self, owner: str) -> int:
        """Return how many wait in this engine."""
        rows = await self._database.read(lambda connection: fetched(connection, "", _HOW_MANY, {"owner": owner}))
        return int(rows[0][0])

    async def names_here(self, owner: str) -> set[str]:
        """Return the names of those that wait in this engine."""
        rows = await self._database.read(lambda connection: fetched(connection, "", _NAMES, {"owner": owner}))
        return {row.name for row in rows}

    async def to_take_up(self, now: datetime) -> list[str]:
        """Return the names of those that wait for an engine, not for a person."""
        return await self._reads.each(_TO_TAKE_UP.params(now=now), lambda row: str(row.name))

    async def waiter_of(self, workflow_id: int) -> str | None:
        """Return the engine that goes on with a workflow."""
        rows: Any = await self._database.read(lambda connection: fetched(connection, "", _WAITER, {"id": workflow_id}))
        return rows[0].waiter if rows else None

    async def children_of(self, workflow_id: int) -> list[str]:
        """Return the names of the workflows that steps of a workflow have begun."""
        rows = await self._database.read(lambda connection: fetched(connection, "", _CHILDREN, {"id": workflow_id}))
        return [row.name for row in rows]
