"""The steps of a workflow that have not run yet are replaced."""

import secrets
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from awfe.domain import events, replacing
from awfe.domain.moves import By, Move
from awfe.domain.records import Event
from awfe.domain.step import StepSpec
from awfe.persistence import codec, specs
from awfe.persistence.batch import put_locked
from awfe.persistence.entries import step_row
from awfe.persistence.lookup import LOCKED_BY_NAME, fetched, found
from awfe.persistence.schema import step, workflow
from awfe.persistence.session import Database
from awfe.persistence.writes import NOTED

_SAVED: Final = select(step.c.position, step.c.name, step.c.impl, step.c.args, step.c.policies).where(
    step.c.workflow_id == bindparam("id")
)
_REMOVE: Final = delete(step).where(step.c.workflow_id == bindparam("w_id"), step.c.position >= bindparam("first"))
_COUNT: Final = update(workflow).where(workflow.c.id == bindparam("w_id")).values(step_count=bindparam("count"))


class Replacing:
    """Replaces steps in one database; `tell` gets the lines of the history after each commit."""

    def __init__(self, database: Database, tell: Callable[[Iterable[Event]], None]) -> None:
        """Write to this database."""
        self._database = database
        self._tell = tell

    async def replace(self, name: str, given: Sequence[StepSpec], by: By, now: datetime) -> None:
        """Replace what has not run yet by what differs of the given steps, whole or not at all."""
        uid = secrets.token_hex(16)
        tried = False
        move: Move | None = None

        async def work(connection: AsyncConnection) -> None:
            nonlocal tried, move
            head = codec.head_of(found(await fetched(connection, name, LOCKED_BY_NAME, {"name": name}), name))
            if tried and (await connection.execute(NOTED, {"uid": uid})).one_or_none() is not None:
                return
            tried = True
            saved = specs.specs_of(head, await fetched(connection, name, _SAVED, {"id": head.id}))
            specs.check(name, saved)
            move = replacing.replaced(head, saved, given, by, now)
            if move is None or move.noted is None:
                return
            first = move.noted.position
            await connection.execute(_REMOVE, {"w_id": head.id, "first": first})
            if rows := [step_row(head.id, spec) for spec in given[first - 1 :]]:
                await connection.execute(insert(step), rows)
            await connection.execute(_COUNT, {"w_id": head.id, "count": len(given)})
            await put_locked(connection, move, uid)

        await self._database.write(work)
        if move is not None:
            self._tell(events.of_move(move))
