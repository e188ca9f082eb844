"""Workflows come and go."""

import secrets
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from msgspec.structs import replace
from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from awfe.domain import events, verbs
from awfe.domain.delta import Delta
from awfe.domain.moves import By, Head, Noted
from awfe.domain.records import Event, Tombstone
from awfe.domain.states import Cause, StepState, Verb, WorkflowState
from awfe.domain.step import StepSpec
from awfe.errors import WorkflowExists, WorkflowLocked
from awfe.persistence import codec
from awfe.persistence.batch import INSERT_EVENT
from awfe.persistence.lookup import LOCKED_BY_NAME, fetched, found
from awfe.persistence.reads import LOCKED_REMAINS, Reads, Remains
from awfe.persistence.schema import attempt, event, signal, step, tombstone, workflow
from awfe.persistence.session import Database
from awfe.persistence.writes import NOTED, check_size

# A statement takes so many parameters on every database.
_AT_ONCE: Final = 1_000
_BURIED: Final = select(tombstone.c.id).where(tombstone.c.uid == bindparam("uid"))


class Entries:
    """The workflows of one database; `tell` gets the lines of the history after each commit."""

    def __init__(self, database: Database, reads: Reads, tell: Callable[[Iterable[Event]], None]) -> None:
        """Write to this database."""
        self._database = database
        self._reads = reads
        self._tell = tell

    async def create(
        self,
        name: str,
        delta: Delta,
        specs: Sequence[StepSpec],
        by: By,
        now: datetime,
        *,
        at: datetime | None = None,
        parent_id: int | None = None,
    ) -> None:
        """Write a new workflow, whole or not at all; raises `WorkflowExists`."""
        check_size(delta, self._database.max_context_bytes)
        uid = secrets.token_hex(16)
        head = Head(0, name, len(specs), WorkflowState.PENDING, 1, StepState.PENDING, 0, now)
        head = replace(head, scheduled_at=at, parent_id=parent_id)
        noted = Noted(Cause.CREATED, now, 0, by, delta)

        async def work(connection: AsyncConnection) -> None:
            row = {"name": name, "step_count": len(specs), "created_at": now, **codec.columns_of(head)}
            try:
                result = await connection.execute(insert(workflow), row)
            except IntegrityError as error:
                await connection.rollback()
                if (await connection.execute(NOTED, {"uid": uid})).one_or_none() is None:
                    raise WorkflowExists(name, f"there is a workflow {name!r} already") from error
                return
            made = replace(head, id=result.inserted_primary_key[0])  # type: ignore[index]  # an INSERT of one row has one
            await connection.execute(insert(step), [step_row(made.id, spec) for spec in specs])
            await connection.execute(INSERT_EVENT, codec.event_row(made, noted, uid, None))

        await self._database.write(work)
        self._tell([events.of_noted(name, noted, None, WorkflowState.PENDING)])

    async def delete(self, name: str, by: By, now: datetime, corrupt: Remains | None = None) -> None:
        """Remove a workflow with all its rows, and leave a tombstone.

        `corrupt` is what was read of one that can't be understood: it is removed where nobody has moved it since.
        """
        uid = secrets.token_hex(16)
        tried = False
        before: WorkflowState | None = None

        async def work(connection: AsyncConnection) -> None:
            nonlocal tried, before
            statement = LOCKED_BY_NAME if corrupt is None else LOCKED_REMAINS
            rows = await fetched(connection, name, statement, {"name": name})
            # Looked for when the lock has been waited for: our own commit may have been what held it.
            if tried and (await connection.execute(_BURIED, {"uid": uid})).one_or_none() is not None:
                return
            tried = True
            row = found(rows, name)
            if corrupt is None:
                head = codec.head_of(row)
                verbs.check(head, Verb.DELETE)
                before = head.state
            elif tuple(row) != corrupt:
                raise WorkflowLocked(name, f"{name!r} was changed at this moment; try again")
            await erase(connection, [row.id])
            await connection.execute(insert(tombstone), grave(uid, name, by, now))

        await self._database.write(work)
        self._tell([events.of_noted(name, Noted(Cause.DELETE, now, 0, by), before, None)])

    async def tombstones(self) -> list[Tombstone]:
        """Return what is left of deleted workflows, oldest first."""
        columns = (tombstone.c.name, tombstone.c.deleted_at, tombstone.c.actor, tombstone.c.reason)
        query = select(*columns).order_by(tombstone.c.id)
        return await self._reads.each(query, lambda row: Tombstone(*row), tombstone.c.id)


async def erase(connection: AsyncConnection, ids: Sequence[int]) -> None:
    """Remove workflows with all their rows."""
    for first in range(0, len(ids), _AT_ONCE):
        some = ids[first : first + _AT_ONCE]
        await connection.execute(delete(workflow).where(workflow.c.id.in_(some)))
        for table in (step, attempt, event, signal):
            await connection.execute(delete(table).where(table.c.workflow_id.in_(some)))


def grave(uid: str, name: str, by: By, now: datetime) -> dict[str, Any]:
    """Return the row of a tombstone."""
    return {"uid": uid, "name": name, "deleted_at": now, "actor": by.actor, "reason": by.reason}


def step_row(workflow_id: int, spec: StepSpec) -> dict[str, Any]:
    """Return the row of a step."""
    return {
        "workflow_id": workflow_id,
        "position": spec.position,
        "name": spec.name,
        "impl": spec.impl,
        "args": spec.args.decode(),
        "policies": spec.policies.decode(),
    }
