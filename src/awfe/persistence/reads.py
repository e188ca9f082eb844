"""What is read: workflows, lists, histories, and the log that a workflow adds up to."""

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    Select,
    and_,
    bindparam,
    case,
    func,
    null,
    or_,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncSession

from awfe.domain import events
from awfe.domain.context import Delta
from awfe.domain.log import Entry, Progress, replay
from awfe.domain.moves import Head
from awfe.domain.records import Event, Tombstone, Workflow, WorkflowSummary
from awfe.domain.states import Cause, StepState, WorkflowState
from awfe.domain.step import StepSpec
from awfe.errors import WorkflowNotFound
from awfe.persistence import codec, views
from awfe.persistence.schema import attempt, event, step, tombstone, workflow
from awfe.persistence.session import Database

_W: Final = len(workflow.c)
_id: Final[BindParameter[Any]] = bindparam("id")

HEAD_BY_NAME: Final = select(workflow).where(workflow.c.name == bindparam("name"))
_WITH_STEPS: Final = (
    select(workflow, step.c.position, step.c.name, step.c.impl, step.c.args, step.c.policies)
    .join(step, step.c.workflow_id == workflow.c.id)
    .where(workflow.c.name == bindparam("name"))
)
# An attempt's changes count only when it was completed, so the others are not even sent. What is read here is put in
# order here: a server that sorts rows with long texts does it in a file.
_ENDED: Final = select(
    attempt.c.rev,
    attempt.c.outcome,
    attempt.c.position,
    attempt.c.attempt,
    case((attempt.c.outcome == StepState.COMPLETED.value, attempt.c.changes)),
).where(attempt.c.workflow_id == _id)
_LINE: Final = (event.c.rev, event.c.id, event.c.cause, event.c.position, event.c.attempt, event.c.changes)
_NOTED: Final = select(*_LINE).where(event.c.workflow_id == _id)
LOCKED_BY_NAME: Final = HEAD_BY_NAME.with_for_update()
LOCKED_BY_ID: Final = select(workflow).where(workflow.c.id == _id).with_for_update()
# Each workflow has a line of its creation, so an inner join finds it.
_LOCKED: Final = select(workflow, *_LINE).join(event, event.c.workflow_id == workflow.c.id).with_for_update(of=workflow)
_LOG_BY_NAME: Final = _LOCKED.where(workflow.c.name == bindparam("name"))
_LOG_BY_ID: Final = _LOCKED.where(workflow.c.id == _id)
_NEWEST: Final = select(attempt.c.position, func.max(attempt.c.attempt)).where(attempt.c.workflow_id == _id)
_LAST_ATTEMPTS: Final = select(attempt).where(
    attempt.c.workflow_id == _id,
    tuple_(attempt.c.position, attempt.c.attempt).in_(_NEWEST.group_by(attempt.c.position)),
)
_UNSAVED: Final = select(attempt.c.changes).where(
    attempt.c.workflow_id == _id,
    attempt.c.position == bindparam("position"),
    attempt.c.attempt == bindparam("attempt"),
    attempt.c.outcome != StepState.COMPLETED.value,
)
_SUMMARIES: Final = (
    select(workflow, step.c.name.label("step_name"), attempt.c.error_type, attempt.c.error_message)
    .add_columns(null().label("error_traceback"))
    .outerjoin(step, and_(step.c.workflow_id == workflow.c.id, step.c.position == workflow.c.position))
    .outerjoin(
        attempt,
        and_(
            attempt.c.workflow_id == workflow.c.id,
            attempt.c.position == workflow.c.position,
            attempt.c.attempt == workflow.c.attempt,
            workflow.c.state == WorkflowState.ERROR.value,
        ),
    )
    .order_by(workflow.c.name)
)
_ORPHANS: Final = select(workflow).where(workflow.c.state == WorkflowState.RUNNING.value)
_RESUMABLE: Final = select(workflow.c.name).where(
    workflow.c.state == WorkflowState.PAUSED.value, workflow.c.resumable.is_(True)
)
# What others ask for, and what others have taken from this owner.
_CONCERNING: Final = select(workflow).where(
    or_(
        workflow.c.request.is_not(None),
        and_(workflow.c.owner == bindparam("owner"), workflow.c.state != WorkflowState.RUNNING.value),
    )
)
_STATS: Final = select(workflow.c.state, func.count()).group_by(workflow.c.state)


async def log_of(session: AsyncSession, workflow_id: int) -> list[Entry]:
    """Return the log of a workflow, in order."""
    lines = (await session.execute(_NOTED, {"id": workflow_id})).all()
    return await _log(session, workflow_id, lines)


async def locked_with_log(session: AsyncSession, name: str, workflow_id: int | None) -> tuple[Head, Progress]:
    """Lock a workflow, by id where it is known; returns its head and what its log adds up to."""
    statement = _LOG_BY_NAME if workflow_id is None else _LOG_BY_ID
    rows = (await session.execute(statement, {"name": name, "id": workflow_id})).all()
    head = codec.head_of(found(rows[0] if rows else None, name)[:_W])
    log = await _log(session, head.id, [row[_W:] for row in rows])
    if len({entry.rev for entry in log}) <= head.rev:
        # Each revision has a line, so one is missing: a statement that has waited for the lock shows, on PostgreSQL,
        # the new head beside the old lines.
        log = await log_of(session, head.id)
    return head, replay(log)


async def _log(session: AsyncSession, workflow_id: int, lines: Iterable[Sequence[Any]]) -> list[Entry]:
    log = [
        ((rev, 0, 0), Entry(rev, Cause(f"step_{outcome}"), position, number, codec.unpack(changes)))
        for rev, outcome, position, number, changes in await session.execute(_ENDED, {"id": workflow_id})
    ]
    log += [
        ((rev, 1, seq), Entry(rev, Cause(cause), position, number or 0, codec.unpack(changes)))
        for rev, seq, cause, position, number, changes in lines
    ]
    return [entry for _, entry in sorted(log, key=itemgetter(0))]


async def unsaved(session: AsyncSession, head: Head) -> Delta:
    """Return what the last attempt of the current step changed and did not get into the context."""
    key = {"id": head.id, "position": head.position, "attempt": head.attempt}
    return codec.unpack((await session.execute(_UNSAVED, key)).scalar_one_or_none())


class Reads:
    """Reads of one database; each is one transaction."""

    def __init__(self, database: Database) -> None:
        """Read from this database."""
        self._database = database

    async def head(self, name: str) -> Head:
        """Return the head of a workflow; raises `WorkflowNotFound`."""

        async def work(session: AsyncSession) -> Head:
            row = (await session.execute(HEAD_BY_NAME, {"name": name})).one_or_none()
            return codec.head_of(found(row, name))

        return await self._database.read(work)

    async def with_steps(self, name: str) -> tuple[Head, list[StepSpec]]:
        """Return a head with its saved steps; raises `WorkflowNotFound`."""

        async def work(session: AsyncSession) -> tuple[Head, list[StepSpec]]:
            rows = (await session.execute(_WITH_STEPS, {"name": name})).all()
            head = codec.head_of(found(rows[0] if rows else None, name)[:_W])
            return head, _specs(rows)

        return await self._database.read(work)

    async def workflow(self, name: str) -> Workflow:
        """Return a workflow as it stands; raises `WorkflowNotFound`."""

        async def work(session: AsyncSession) -> Workflow:
            rows = (await session.execute(_WITH_STEPS, {"name": name})).all()
            head = codec.head_of(found(rows[0] if rows else None, name)[:_W])
            # Another transaction may have moved it since: what is younger than the head is not looked at.
            log = [entry for entry in await log_of(session, head.id) if entry.rev <= head.rev]
            attempts = (await session.execute(_LAST_ATTEMPTS, {"id": head.id})).all()
            return views.workflow(head, _specs(rows), log, attempts)

        return await self._database.read(work)

    async def summaries(
        self, state: WorkflowState | None, name_prefix: str, limit: int, after: str | None
    ) -> list[WorkflowSummary]:
        """Return workflows ordered by name in code points."""
        query = _SUMMARIES.limit(limit)
        if state is not None:
            query = query.where(workflow.c.state == state.value)
        if name_prefix:
            query = query.where(func.substr(workflow.c.name, 1, len(name_prefix)) == name_prefix)
        if after is not None:
            query = query.where(workflow.c.name > after)
        return [views.summary(codec.head_of(row[:_W]), row) for row in await self._rows(query)]

    async def stats(self) -> dict[WorkflowState, int]:
        """Return how many workflows are in each state."""
        counts = dict(tuple(row) for row in await self._rows(_STATS))
        return {state: counts.get(state.value, 0) for state in WorkflowState}

    async def history(self, name: str) -> list[Event]:
        """Return all that happened to a workflow, oldest first; raises `WorkflowNotFound`."""

        async def work(session: AsyncSession) -> list[Event]:
            head = codec.head_of(found((await session.execute(HEAD_BY_NAME, {"name": name})).one_or_none(), name))
            lines: list[tuple[tuple[int, int, int], Event]] = []
            for row in await session.execute(select(attempt).where(attempt.c.workflow_id == head.id)):
                line = events.of_ended(name, codec.ended_of(row), WorkflowState(row.after))
                lines.append(((row.rev, 0, 0), line))
            for row in await session.execute(select(event).where(event.c.workflow_id == head.id)):
                before = None if row.before is None else WorkflowState(row.before)
                line = events.of_noted(name, codec.noted_of(row), before, WorkflowState(row.after))
                lines.append(((row.rev, 1, row.id), line))
            return [line for _, line in sorted(lines, key=lambda pair: pair[0])]

        return await self._database.read(work)

    async def tombstones(self) -> list[Tombstone]:
        """Return what is left of deleted workflows, oldest first."""
        columns = (tombstone.c.name, tombstone.c.deleted_at, tombstone.c.actor, tombstone.c.reason)
        return [Tombstone(*row) for row in await self._rows(select(*columns).order_by(tombstone.c.id))]

    async def running(self) -> list[Head]:
        """Return the heads of all that somebody runs, or ran."""
        return [codec.head_of(row) for row in await self._rows(_ORPHANS)]

    async def resumable(self) -> list[str]:
        """Return the names of those that wait for an engine, not for a person."""
        return [name for (name,) in await self._rows(_RESUMABLE)]

    async def concerning(self, owner: str) -> list[Head]:
        """Return the heads of all that are asked to pause or stop, and of what this owner may not know to be fenced."""
        return [codec.head_of(row) for row in await self._rows(_CONCERNING, {"owner": owner})]

    async def _rows(self, query: Select[Any], values: dict[str, Any] | None = None) -> Sequence[Any]:
        async def work(session: AsyncSession) -> Sequence[Any]:
            rows: Sequence[Any] = (await session.execute(query, values)).all()
            return rows

        return await self._database.read(work)


def found(row: Any, name: str) -> Any:
    """Return the row; raises `WorkflowNotFound` when there is none."""
    if row is None:
        raise WorkflowNotFound(name, f"there is no workflow {name!r}")
    return row


def _specs(rows: Iterable[Sequence[Any]]) -> list[StepSpec]:
    specs = (row[_W:] for row in rows)
    return [
        StepSpec(position, name, impl, args.encode(), policies.encode())
        for position, name, impl, args, policies in sorted(specs, key=itemgetter(0))
    ]
