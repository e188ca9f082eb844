"""What is read: workflows, lists, histories, and the log that a workflow adds up to."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Final, TypeVar

from sqlalchemy import BindParameter, Column, Select, and_, bindparam, case, func, null, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from awfe.domain.delta import Delta
from awfe.domain.log import Entry, Progress, replay
from awfe.domain.moves import Head
from awfe.domain.records import Event, Workflow, WorkflowSummary
from awfe.domain.states import ACTIVE, Cause, StepState, WorkflowState
from awfe.domain.step import StepSpec
from awfe.errors import WorkflowCorrupt, WorkflowNotFound
from awfe.persistence import codec, specs, views
from awfe.persistence.schema import attempt, event, step, workflow
from awfe.persistence.session import Database

T = TypeVar("T")
# Of a workflow that can't be understood: id, owner, run_id, rev. Where they are the same again, nobody has moved it.
Remains = tuple[Any, ...]
_W: Final = len(workflow.c)
_KEY: Final = workflow.c.id
_id: Final[BindParameter[Any]] = bindparam("id")

HEAD_BY_NAME: Final = select(workflow).where(workflow.c.name == bindparam("name"))
_REMAINS: Final = select(workflow.c.id, workflow.c.owner, workflow.c.run_id, workflow.c.rev).where(
    workflow.c.name == bindparam("name")
)
LOCKED_REMAINS: Final = _REMAINS.with_for_update()
_WITH_STEPS: Final = (
    select(workflow, step.c.position, step.c.name, step.c.impl, step.c.args, step.c.policies)
    .outerjoin(step, step.c.workflow_id == workflow.c.id)
    .where(workflow.c.name == bindparam("name"))
)
# An attempt's changes count only when it was completed or undone, so the others are not even sent. What is read here
# is put in order here: a server that sorts rows with long texts does it in a file.
_ENDED: Final = select(
    attempt.c.rev,
    attempt.c.outcome,
    attempt.c.position,
    attempt.c.attempt,
    case((attempt.c.outcome.in_([StepState.COMPLETED.value, StepState.UNDONE.value]), attempt.c.changes)),
).where(attempt.c.workflow_id == _id)
_LINE: Final = (event.c.rev, event.c.id, event.c.cause, event.c.position, event.c.attempt, event.c.changes)
_NOTED: Final = select(*_LINE).where(event.c.workflow_id == _id)
LOCKED_BY_NAME: Final = HEAD_BY_NAME.with_for_update()
LOCKED_BY_ID: Final = select(workflow).where(workflow.c.id == _id).with_for_update()
_LOCKED: Final = (
    select(workflow, *_LINE).outerjoin(event, event.c.workflow_id == workflow.c.id).with_for_update(of=workflow)
)
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
_PRINTED: Final = (
    select(event.c.output)
    .where(event.c.workflow_id == _id, event.c.cause == Cause.STEP_WAITING.value)
    .order_by(event.c.rev.desc())
    .limit(1)
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
_ACTIVE: Final = [state.value for state in ACTIVE]
_ORPHANS: Final = select(workflow).where(workflow.c.state.in_(_ACTIVE))
# What others ask for, and what others have taken from this owner.
_CONCERNING: Final = select(workflow).where(
    or_(
        workflow.c.request.is_not(None),
        and_(workflow.c.owner == bindparam("owner"), workflow.c.state.not_in(_ACTIVE)),
    )
)
_STATS: Final = (
    select(workflow.c.state, func.count())
    .where(workflow.c.state.in_([state.value for state in WorkflowState]))
    .group_by(workflow.c.state)
)
_ATTEMPTS: Final = select(attempt).where(attempt.c.workflow_id == _id)
_EVENTS: Final = select(event).where(event.c.workflow_id == _id)


async def fetched(session: AsyncSession, name: str, statement: Any, key: Mapping[str, Any]) -> Sequence[Any]:
    """Return rows about one workflow; raises `WorkflowCorrupt` for one that can't even be fetched."""
    with codec.understanding(name, "its rows"):
        rows: Sequence[Any] = (await session.execute(statement, key)).all()
        return rows


async def _head(session: AsyncSession, name: str) -> Head:
    return codec.head_of(found(await fetched(session, name, HEAD_BY_NAME, {"name": name}), name))


async def _still_there(session: AsyncSession, head: Head) -> None:
    """Raise `WorkflowNotFound` for one that was deleted since its head was read: each statement sees what is committed."""
    if (await _head(session, head.name)).id != head.id:
        found((), head.name)


async def locked_with_log(session: AsyncSession, name: str, workflow_id: int | None) -> tuple[Head, Progress]:
    """Lock a workflow, by id where it is known; returns its head and what its log adds up to."""
    statement = _LOG_BY_NAME if workflow_id is None else _LOG_BY_ID
    rows = await fetched(session, name, statement, {"name": name, "id": workflow_id})
    head = codec.head_of(found(rows, name)[:_W])
    log = await _log(session, head, [row[_W:] for row in rows])
    if len({entry.rev for entry in log}) <= head.rev:
        # Each revision has a line, so one is missing: a statement that has waited for the lock shows, on PostgreSQL,
        # the new head beside the old lines.
        log = await log_of(session, head)
    progress = replay(log)
    if head.attempt_started_at is not None and head.attempt < progress.next_attempt(head.at):
        raise codec.corrupt(name, "awfe_workflow.attempt", f"attempt {head.attempt} runs, and has ended")
    return head, progress


async def log_of(session: AsyncSession, head: Head) -> list[Entry]:
    """Return the log of a workflow, in order."""
    return await _log(session, head, await fetched(session, head.name, _NOTED, {"id": head.id}))


async def _log(session: AsyncSession, head: Head, lines: Iterable[Sequence[Any]]) -> list[Entry]:
    ended = await fetched(session, head.name, _ENDED, {"id": head.id})
    log = codec.each(head.name, "awfe_attempt", ended, codec.entry_of_attempt)
    log += codec.each(head.name, "awfe_event", lines, codec.entry_of_event)
    entries = [entry for _, entry in sorted(log, key=itemgetter(0))]
    if not entries or entries[0].cause is not Cause.CREATED:
        await _still_there(session, head)
        raise codec.corrupt(head.name, "awfe_event", "it does not begin with the line of its creation")
    return entries


async def unsaved(session: AsyncSession, head: Head) -> Delta:
    """Return what the last attempt of the current step changed and did not get into the context."""
    key = {"id": head.id, "position": head.position, "attempt": head.attempt}
    rows = await fetched(session, head.name, _UNSAVED, key)
    with codec.understanding(head.name, f"awfe_attempt.changes of step {head.position}"):
        return codec.unpack(rows[0].changes if rows else None)


async def printed(session: AsyncSession, head: Head) -> str:
    """Return what the step of a workflow has printed that now waits."""
    if not head.waits:
        return ""
    rows = await fetched(session, head.name, _PRINTED, {"id": head.id})
    return (rows[0].output or "") if rows else ""


class Reads:
    """Reads of one database; each is one transaction."""

    def __init__(self, database: Database) -> None:
        """Read from this database."""
        self._database = database
        self._told: set[str] = set()

    async def head(self, name: str) -> Head:
        """Return the head of a workflow; raises `WorkflowNotFound`."""
        return await self._database.read(lambda session: _head(session, name))

    async def remains(self, name: str) -> Remains:
        """Return what can be read of any workflow; raises `WorkflowNotFound`."""
        rows = await self._database.read(lambda session: fetched(session, name, _REMAINS, {"name": name}))
        return tuple(found(rows, name))

    async def with_steps(self, name: str) -> tuple[Head, list[StepSpec]]:
        """Return a head with its saved steps, which can be made again; raises `WorkflowNotFound`."""
        head, saved = await self._database.read(lambda session: _with_steps(session, name))
        for spec in saved:
            specs.arguments_of(name, spec)
            specs.policies_of(name, spec)
        return head, saved

    async def workflow(self, name: str) -> Workflow:
        """Return a workflow as it stands; raises `WorkflowNotFound`."""

        async def work(session: AsyncSession) -> Workflow:
            head, saved = await _with_steps(session, name)
            # Another transaction may have moved it since: what is younger than the head is not looked at.
            log = [entry for entry in await log_of(session, head) if entry.rev <= head.rev]
            attempts = await fetched(session, name, _LAST_ATTEMPTS, {"id": head.id})
            with codec.understanding(name, "what its steps changed"):
                return views.workflow(head, saved, log, attempts, await printed(session, head))

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
        return await self.each(query, lambda row: views.summary(codec.head_of(row[:_W]), row))

    async def stats(self) -> dict[WorkflowState, int]:
        """Return how many workflows are in each state."""
        counts = dict(tuple(row) for row in await self._rows(_STATS))
        return {state: counts.get(state.value, 0) for state in WorkflowState}

    async def history(self, name: str) -> list[Event]:
        """Return all that happened to a workflow, oldest first; raises `WorkflowNotFound`."""

        async def work(session: AsyncSession) -> list[Event]:
            head = await _head(session, name)
            ended = await fetched(session, name, _ATTEMPTS, {"id": head.id})
            noted = await fetched(session, name, _EVENTS, {"id": head.id})
            if not noted:
                await _still_there(session, head)
            lines = codec.each(name, "awfe_attempt", ended, partial(views.line_of_attempt, name))
            lines += codec.each(name, "awfe_event", noted, partial(views.line_of_event, name))
            with codec.understanding(name, "its history"):
                return [line for _, line in sorted(lines, key=itemgetter(0))]

        return await self._database.read(work)

    async def running(self) -> list[Head]:
        """Return the heads of all that somebody runs, or ran."""
        return await self.each(_ORPHANS, codec.head_of)

    async def concerning(self, owner: str) -> list[Head]:
        """Return the heads of all that are asked to pause or stop, and of what this owner may not know to be fenced."""
        return await self.each(_CONCERNING.params(owner=owner), codec.head_of)

    def pass_over(self, error: WorkflowCorrupt) -> None:
        """Tell, once, of a workflow that can't be understood; the others go on."""
        if error.message not in self._told:
            self._told.add(error.message)
            self._database.log.warning("passed over: %s", error)

    async def each(self, query: Select[Any], make: Callable[[Any], T], key: Column[int] = _KEY) -> list[T]:
        """Make something of each row; those of which nothing can be made are passed over."""
        broken: list[int] = []
        while True:
            others = query.where(key.not_in(broken)) if broken else query
            try:
                return [make(row) for row in await self._rows(others)]
            except WorkflowCorrupt:
                if not (found_now := await self._broken(others, make, key)):
                    raise
                broken += found_now

    async def _broken(self, query: Select[Any], make: Callable[[Any], Any], key: Column[int]) -> list[int]:
        """Look at each row by itself: one that can't even be fetched doesn't tell which it is."""
        broken = []
        for (number,) in await self._rows(query.with_only_columns(key, maintain_column_froms=True)):
            try:
                name = f"row {number} of {key.table.name}"
                for row in await self._rows(select(key.table.c.name).where(key == number)):
                    name = row.name
                for row in await self._rows(query.where(key == number), name):
                    make(row)
            except WorkflowCorrupt as error:
                broken.append(number)
                self.pass_over(error)
        return broken

    async def _rows(self, query: Select[Any], name: str = "") -> Sequence[Any]:
        return await self._database.read(lambda session: fetched(session, name, query, {}))


async def _with_steps(session: AsyncSession, name: str) -> tuple[Head, list[StepSpec]]:
    rows = await fetched(session, name, _WITH_STEPS, {"name": name})
    head = codec.head_of(found(rows, name)[:_W])
    return head, specs.specs_of(head, (row[_W:] for row in rows))


def found(rows: Sequence[Any], name: str) -> Any:
    """Return the first row; raises `WorkflowNotFound` when there is none."""
    if not rows:
        raise WorkflowNotFound(name, f"there is no workflow {name!r}")
    return rows[0]
