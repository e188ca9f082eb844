"""Old workflows go, in batches: each is a transaction, and leaves a tombstone for every name."""

import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, exists, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from awfe.domain import events
from awfe.domain.moves import By, Noted
from awfe.domain.records import Event, Purged
from awfe.domain.states import DELETABLE, Cause, WorkflowState
from awfe.persistence import codec
from awfe.persistence.entries import erase, grave
from awfe.persistence.reads import Reads
from awfe.persistence.schema import attempt, event, tombstone, workflow
from awfe.persistence.session import Database

# Few enough that others don't wait long for a batch, and that a family of them fits a statement.
_BATCH: Final = 100
_AT_ONCE: Final = 1_000

_parent: Final = workflow.alias("parent")
# What a step has begun belongs to the workflow of that step, for as long as that is there.
_ROOT: Final = ~exists().where(_parent.c.id == workflow.c.parent_id)
_LINE: Final = (workflow.c.id, workflow.c.name, workflow.c.state, workflow.c.owner, workflow.c.parent_id)
_LISTED: Final = workflow.c.id.in_(bindparam("ids", expanding=True))
_LOCKED: Final = select(workflow.c.id).where(_LISTED).order_by(workflow.c.id).with_for_update()
_CHILDREN: Final = (
    select(*_LINE)
    .where(workflow.c.parent_id.in_(bindparam("ids", expanding=True)))
    .order_by(workflow.c.id)
    .with_for_update()
)
_BURIED: Final = select(tombstone.c.uid).where(tombstone.c.uid.between(bindparam("first"), bindparam("last")))


@dataclass(frozen=True, slots=True)
class Old:
    """Which workflows are old: those that have rested in one of these states since `before`."""

    states: Collection[WorkflowState]
    before: datetime

    @property
    def where(self) -> ColumnElement[bool]:
        """The condition; what has no end has rested since the last line of its history."""
        later_event = exists().where(event.c.workflow_id == workflow.c.id, event.c.at > self.before)
        later_attempt = exists().where(attempt.c.workflow_id == workflow.c.id, attempt.c.ended_at > self.before)
        rests = and_(workflow.c.ended_at.is_(None), workflow.c.created_at <= self.before, ~later_event, ~later_attempt)
        states = workflow.c.state.in_([state.value for state in self.states])
        return and_(states, _ROOT, or_(workflow.c.ended_at <= self.before, rests))


class Purging:
    """Deletes what is old from one database; `tell` gets the lines of the history after each commit."""

    def __init__(self, database: Database, reads: Reads, tell: Callable[[Iterable[Event]], None]) -> None:
        """Delete from this database."""
        self._database = database
        self._reads = reads
        self._tell = tell

    async def purge(self, old: Old, by: By, now: datetime) -> Purged:
        """Delete what is old, whole families; those of which somebody runs one are left and named.

        What can't be understood is passed over, with a line in the log.
        """
        deleted: list[str] = []
        refused: list[str] = []
        last = 0
        while heads := await self._reads.each(self._candidates(old, last), codec.head_of):
            last = heads[-1].id
            gone, left = await self._batch([head.id for head in heads], old, by, now)
            deleted += [row.name for row in gone]
            refused += left
            noted = Noted(Cause.DELETE, now, 0, by)
            self._tell([events.of_noted(row.name, noted, WorkflowState(row.state), None) for row in gone])
        return Purged(tuple(deleted), tuple(refused))

    def _candidates(self, old: Old, last: int) -> Any:
        return select(workflow).where(old.where, workflow.c.id > last).order_by(workflow.c.id).limit(_BATCH)

    async def _batch(self, ids: Sequence[int], old: Old, by: By, now: datetime) -> tuple[list[Any], list[str]]:
        """Delete some of them in one transaction; returns the rows that went, and the names that are refused."""
        # Of a batch that may have been committed, the tombstones tell: theirs begin alike and end with the id.
        mark = secrets.token_hex(8)
        ours = {"first": f"{mark}{0:016x}", "last": f"{mark}{'f' * 16}"}
        seen: dict[int, Any] = {}

        async def work(connection: AsyncConnection) -> tuple[list[Any], list[str]]:
            await connection.execute(_LOCKED, {"ids": ids})
            # Looked for when the locks have been waited for: our own commit may have been what held them.
            if seen and (buried := (await connection.execute(_BURIED, ours)).scalars().all()):
                return [seen[int(uid[16:], 16)] for uid in buried], []
            # Looked at once more: somebody may have moved or addressed them since.
            roots = (await connection.execute(select(*_LINE).where(_LISTED, old.where), {"ids": ids})).all()
            families = [await _family(connection, root) for root in sorted(roots)]
            gone = [row for family in families for row in family if _may_go(family)]
            seen.update((row.id, row) for row in gone)
            await erase(connection, [row.id for row in gone])
            if gone:
                graves = [grave(f"{mark}{row.id:016x}", row.name, by, now) for row in gone]
                await connection.execute(insert(tombstone), graves)
            return gone, [family[0].name for family in families if not _may_go(family)]

        return await self._database.write(work)


async def _family(connection: AsyncConnection, root: Any) -> list[Any]:
    """Return a workflow and all that its steps have begun, and theirs; these are locked."""
    family = generation = [root]
    while generation:
        ids = [row.id for row in generation]
        generation = [
            row
            for first in range(0, len(ids), _AT_ONCE)
            for row in await connection.execute(_CHILDREN, {"ids": ids[first : first + _AT_ONCE]})
        ]
        family = [*family, *generation]
    return family


def _may_go(family: Iterable[Any]) -> bool:
    return all(row.owner is None and row.state in DELETABLE for row in family)
