"""One workflow looked up inside a transaction: its head, its steps, and the log that it adds up to."""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import BindParameter, and_, bindparam, case, select
from sqlalchemy.ext.asyncio import AsyncConnection

from awfe.domain.log import Entry, Progress, replay
from awfe.domain.moves import Head
from awfe.domain.states import Cause, StepState
from awfe.domain.step import StepSpec
from awfe.errors import WorkflowCorrupt, WorkflowNotFound
from awfe.persistence import codec, specs
from awfe.persistence.schema import attempt, event, step, workflow

_W: Final = len(workflow.c)
_id: Final[BindParameter[Any]] = bindparam("id")

HEAD_BY_NAME: Final = select(workflow).where(workflow.c.name == bindparam("name"))
SAVED: Final = (step.c.position, step.c.name, step.c.impl, step.c.args, step.c.policies)
_WITH_STEPS: Final = (
    select(workflow, *SAVED)
    .outerjoin(step, step.c.workflow_id == workflow.c.id)
    .where(workflow.c.name == bindparam("name"))
)
# An attempt's changes count only when it was completed or undone, so the others are not even sent. What is read here
# is put in order here: a server that sorts rows with long texts does it in a file.
_counts: Final = attempt.c.outcome.in_([StepState.COMPLETED.value, StepState.UNDONE.value])
ENDING: Final = (
    attempt.c.rev,
    attempt.c.outcome,
    attempt.c.position,
    attempt.c.attempt,
    case((_counts, attempt.c.changes)).label("changes"),
)
# The last attempt of a step has none that follows; what is long of the others is not sent.
_next: Final = attempt.alias("following")
_LONG: Final = ("output", "error_type", "error_message", "error_traceback")
_is_last: Final = _next.c.attempt.is_(None)
_BOTH: Final = attempt.outerjoin(
    _next,
    and_(
        _next.c.workflow_id == attempt.c.workflow_id,
        _next.c.position == attempt.c.position,
        _next.c.attempt == attempt.c.attempt + 1,
    ),
)
ATTEMPTS: Final = select(
    attempt.c.workflow_id,
    *ENDING,
    attempt.c.started_at,
    attempt.c.ended_at,
    case((and_(_is_last, ~_counts), attempt.c.changes)).label("left"),
    *(case((_is_last, attempt.c[name])).label(name) for name in _LONG),
).select_from(_BOTH)
_ATTEMPTS: Final = ATTEMPTS.where(attempt.c.workflow_id == _id)
_ENDED: Final = select(*ENDING).where(attempt.c.workflow_id == _id)
LINE: Final = (event.c.rev, event.c.id, event.c.cause, event.c.position, event.c.attempt, event.c.changes)
_NOTED: Final = select(*LINE).where(event.c.workflow_id == _id)
LOCKED_BY_NAME: Final = HEAD_BY_NAME.with_for_update()
LOCKED_BY_ID: Final = select(workflow).where(workflow.c.id == _id).with_for_update()
_LOCKED: Final = (
    select(workflow, *LINE).outerjoin(event, event.c.workflow_id == workflow.c.id).with_for_update(of=workflow)
)
_LOG_BY_NAME: Final = _LOCKED.where(workflow.c.name == bindparam("name"))
_LOG_BY_ID: Final = _LOCKED.where(workflow.c.id == _id)
_UNSAVED: Final = select(attempt.c.rev, attempt.c.outcome, attempt.c.changes).where(
    attempt.c.workflow_id == _id,
    attempt.c.position == bindparam("position"),
    attempt.c.attempt == bindparam("attempt"),
    attempt.c.outcome.not_in([StepState.COMPLETED.value, StepState.UNDONE.value]),
    attempt.c.changes.is_not(None),
)
_PRINTED: Final = (
    select(event.c.output)
    .where(event.c.workflow_id == _id, event.c.cause == Cause.STEP_WAITING.value)
    .order_by(event.c.rev.desc())
    .limit(1)
)


async def fetched(connection: AsyncConnection, name: str, statement: Any, key: Mapping[str, Any]) -> Sequence[Any]:
    """Return rows about one workflow; raises `WorkflowCorrupt` for one that can't even be fetched."""
    with codec.Understanding(name, "its rows"):
        rows: Sequence[Any] = (await connection.execute(statement, key)).all()
        return rows


async def head_of(connection: AsyncConnection, name: str) -> Head:
    """Return the head of a workflow; raises `WorkflowNotFound`."""
    return codec.head_of(found(await fetched(connection, name, HEAD_BY_NAME, {"name": name}), name))


async def still_there(connection: AsyncConnection, head: Head) -> None:
    """Raise `WorkflowNotFound` for one deleted since its head was read: each statement sees what is committed."""
    if (await head_of(connection, head.name)).id != head.id:
        found((), head.name)


async def locked_with_log(connection: AsyncConnection, name: str, workflow_id: int | None) -> tuple[Head, Progress]:
    """Lock a workflow, by id where it is known; returns its head and what its log adds up to."""
    statement = _LOG_BY_NAME if workflow_id is None else _LOG_BY_ID
    rows = await fetched(connection, name, statement, {"name": name, "id": workflow_id})
    head = codec.head_of(found(rows, name)[:_W])
    log = await _log(connection, head, [row[_W:] for row in rows])
    if len({entry.rev for entry in log}) <= head.rev:
        # Each revision has a line, so one is missing: a statement that has waited for the lock shows, on PostgreSQL,
        # the new head beside the old lines.
        log = await log_of(connection, head)
    progress = replay(log)
    compare(head, progress)
    return head, progress


def compare(head: Head, progress: Progress) -> None:
    """Raise `WorkflowCorrupt` where a head contradicts its log."""
    if head.attempt_started_at is not None and head.attempt < progress.next_attempt(head.at):
        raise codec.corrupt(head.name, "awfe_workflow.attempt", f"attempt {head.attempt} runs, and has ended")


async def log_of(connection: AsyncConnection, head: Head) -> list[Entry]:
    """Return the log of a workflow, in order."""
    return await _log(connection, head, await fetched(connection, head.name, _NOTED, {"id": head.id}))


async def told(connection: AsyncConnection, head: Head) -> tuple[list[Entry], Sequence[Any]]:
    """Return the log up to a head, and the rows of its attempts; another transaction may have added to them since."""
    noted = await fetched(connection, head.name, _NOTED, {"id": head.id})
    attempts = await fetched(connection, head.name, _ATTEMPTS, {"id": head.id})
    try:
        return until(head, noted, attempts), attempts
    except WorkflowCorrupt:
        await still_there(connection, head)
        raise


def until(head: Head, noted: Iterable[Sequence[Any]], attempts: Iterable[Sequence[Any]]) -> list[Entry]:
    """Return the log up to a head, of lines and of the rows of `ATTEMPTS`."""
    log = entries_of(head, noted, (row[1 : 1 + len(ENDING)] for row in attempts))
    return [entry for entry in log if entry.rev <= head.rev]


async def _log(connection: AsyncConnection, head: Head, lines: Iterable[Sequence[Any]]) -> list[Entry]:
    ended = await fetched(connection, head.name, _ENDED, {"id": head.id})
    try:
        return entries_of(head, lines, ended)
    except WorkflowCorrupt:
        await still_there(connection, head)
        raise


def entries_of(head: Head, lines: Iterable[Sequence[Any]], ended: Iterable[Sequence[Any]]) -> list[Entry]:
    """Return the log that rows of both tables add up to, in order; raises `WorkflowCorrupt`."""
    log = codec.each(head.name, "awfe_attempt", ended, codec.entry_of_attempt)
    log += codec.each(head.name, "awfe_event", lines, codec.entry_of_event)
    entries = [entry for _, entry in sorted(log, key=itemgetter(0))]
    if not entries or entries[0].cause is not Cause.CREATED:
        raise codec.corrupt(head.name, "awfe_event", "it does not begin with the line of its creation")
    return entries


async def unsaved(connection: AsyncConnection, head: Head, progress: Progress) -> Entry | None:
    """Return the last attempt of the current step, where it changed what did not get into the context."""
    key = {"id": head.id, "position": head.position, "attempt": head.attempt}
    for row in await fetched(connection, head.name, _UNSAVED, key):
        # One from before a reset from this step, or one before it, is of a past that was dropped.
        if progress.line(head.at) < row.rev <= head.rev:
            with codec.Understanding(head.name, f"awfe_attempt.changes of step {head.position}"):
                delta = codec.unpack(row.changes)
                return Entry(row.rev, Cause(f"step_{row.outcome}"), head.at, head.attempt, delta)
    return None


async def printed(connection: AsyncConnection, head: Head) -> str:
    """Return what the step of a workflow has printed that now waits."""
    if not head.waits:
        return ""
    rows = await fetched(connection, head.name, _PRINTED, {"id": head.id})
    return (rows[0].output or "") if rows else ""


async def with_steps(connection: AsyncConnection, name: str) -> tuple[Head, list[StepSpec]]:
    """Return a head with its saved steps."""
    rows = await fetched(connection, name, _WITH_STEPS, {"name": name})
    head = codec.head_of(found(rows, name)[:_W])
    return head, specs.specs_of(head, (row[_W:] for row in rows))


def found(rows: Sequence[Any], name: str) -> Any:
    """Return the first row; raises `WorkflowNotFound` when there is none."""
    if not rows:
        raise WorkflowNotFound(name, f"there is no workflow {name!r}")
    return rows[0]
