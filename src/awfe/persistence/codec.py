"""Between rows and values.

A row may say anything: somebody may have changed it. What can't be is told apart here, by the decoding itself, and is
`WorkflowCorrupt` for everybody.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta
from sqlalchemy.exc import OperationalError

from awfe.domain.delta import NO_CHANGE, Delta
from awfe.domain.log import Entry
from awfe.domain.moves import By, Ended, Head, Move, Noted
from awfe.domain.outcomes import ErrorInfo
from awfe.domain.records import RequestName
from awfe.domain.states import ACTIVE, ENDED, OUTCOMES, Cause, StepState, WorkflowState
from awfe.domain.waits import Wait
from awfe.errors import WorkflowCorrupt
from awfe.persistence import faults

T = TypeVar("T")
Row = Any
# The upper bounds leave room for the next: a number that can't be counted up is of nobody's making.
_Count = Annotated[int, Meta(ge=0, lt=2**31 - 1)]
_Long = Annotated[int, Meta(ge=0, lt=2**63 - 1)]
_Seconds = Annotated[float, Meta(ge=0, le=sys.float_info.max)]


class _HeadRow(msgspec.Struct, array_like=True, gc=False):
    """The columns of `awfe_workflow`, in their order."""

    id: int
    name: str
    step_count: _Count
    state: WorkflowState
    position: Annotated[int, Meta(ge=1)] | None
    step_state: StepState | None
    attempt: _Count
    created_at: datetime
    attempt_started_at: datetime | None
    due_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    resumable: bool
    run_token: _Long
    run_id: str
    rev: _Long
    owner: str | None
    request: RequestName | None
    stop_grace: _Seconds | None
    scheduled_at: datetime | None
    undoing: bool
    wait: str | None
    waiter: str | None
    parent_id: int | None
    wait_topic: str | None


class _Line(msgspec.Struct, array_like=True, gc=False):
    """What the log of a workflow takes from a row of `awfe_event`; `order` is its id."""

    rev: _Long
    order: int
    cause: Cause
    position: _Count
    attempt: _Count | None
    changes: str | None


class _AttemptLine(msgspec.Struct, array_like=True, gc=False):
    """What it takes from a row of `awfe_attempt`."""

    rev: _Long
    outcome: StepState
    position: _Count
    attempt: _Count
    changes: str | None


_CAUSES: Final = {outcome: Cause(f"step_{outcome}") for outcome in OUTCOMES}
_WAIT: Final = _HeadRow.__struct_fields__.index("wait")
Placed = tuple[tuple[int, int, int], Entry]
_TIMES: Final = (datetime,)
_deltas = msgspec.json.Decoder(Delta)
_waits = msgspec.json.Decoder(Wait)
_encode = msgspec.json.encode

# What decoders raise: ours, and those of SQLAlchemy and the drivers, for a time say.
UNREADABLE: Final = (ValueError, TypeError, OverflowError, RecursionError, msgspec.MsgspecError)
# SQLite keeps any bytes as text, and its driver has no error of its own for them.
_NO_TEXT: Final = "Could not decode to UTF-8"


def corrupt(name: str, where: str, problem: object) -> WorkflowCorrupt:
    """Return the error that says what of a workflow can't be, and what to do."""
    text = " ".join(str(problem).split())
    shown = text if text.isprintable() else ascii(text)
    msg = f"{name!r}: what the tables say about it can't be: {where}: {shown:.300}; mend that by SQL, or delete it"
    return WorkflowCorrupt(name, msg)


class Understanding:
    """Raises `WorkflowCorrupt` for what can't be read, whoever finds that out."""

    __slots__ = ("_name", "_where")

    def __init__(self, name: str, where: str) -> None:
        """Understand this of a workflow."""
        self._name = name
        self._where = where

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Tell which of the errors that come by are those of a reader."""
        if error is None or not isinstance(error, (*UNREADABLE, OperationalError)):
            return
        if faults.is_foreign(error) and _NO_TEXT not in str(error):
            return
        raise corrupt(self._name, self._where, faults.brief(error)) from error


def each(name: str, table: str, rows: Iterable[Row], make: Callable[[Row], T]) -> list[T]:
    """Make something of each row; raises `WorkflowCorrupt` with the revision of the first that can't be read."""
    made: list[T] = []
    row: Row = None
    try:
        for row in rows:
            made.append(make(row))
    except UNREADABLE as error:
        revision = getattr(row, "rev", row[0])
        raise corrupt(name, f"{table}, revision {revision!r:.40}", faults.brief(error)) from error
    return made


def pack(delta: Delta) -> str | None:
    """Return a change as JSON text; no change is NULL."""
    return _encode(delta).decode() if delta else None


def unpack(text: str | None) -> Delta:
    """Return the change that was packed."""
    return NO_CHANGE if text is None else _deltas.decode(text)


def head_of(row: Sequence[Any]) -> Head:
    """Return the head that the columns of `awfe_workflow` hold, in their order; raises `WorkflowCorrupt`."""
    try:
        read = msgspec.convert(tuple(row), _HeadRow, builtin_types=_TIMES)
    except msgspec.ValidationError as error:
        problem, _, index = str(error).rpartition(" - at `$[")
        column = _HeadRow.__struct_fields__[int(index[:-2])]
        raise corrupt(str(row[1]), f"awfe_workflow.{column}", problem) from error
    if problem := _contradiction(read):
        raise corrupt(read.name, "awfe_workflow", problem)
    with Understanding(read.name, "awfe_workflow.wait"):
        wait = None if read.wait is None else _waits.decode(read.wait)
    values = msgspec.structs.astuple(read)
    return Head(*(*values[:_WAIT], wait, read.waiter, read.parent_id))


def _contradiction(read: _HeadRow) -> str:
    """Return which columns can't be true together, or nothing; what only CHECKs hold is no concern here."""
    position = read.position
    if position is None:
        return "" if read.state in ENDED and read.step_state is None else f"state {read.state}, but position NULL"
    if read.step_state is None:
        return f"position {position}, but step_state NULL"
    if position > read.step_count:
        return f"position {position} of {read.step_count} steps"
    if read.owner is None and read.state in ACTIVE:
        return f"state {read.state}, but owner NULL"
    if (read.wait is None) == (read.step_state is StepState.WAITING):
        return f"step_state {read.step_state}, but wait {'NULL' if read.wait is None else 'not NULL'}"
    return ""


def entry_of_event(row: Sequence[Any]) -> Placed:
    """Return a line of the log with its place in it, from a row of `awfe_event`."""
    line = msgspec.convert(tuple(row), _Line)
    delta = unpack(line.changes)
    return (line.rev, 1, line.order), Entry(line.rev, line.cause, line.position, line.attempt or 0, delta)


def entry_of_attempt(row: Sequence[Any]) -> Placed:
    """Return a line of the log with its place in it, from a row of `awfe_attempt`."""
    line = msgspec.convert(tuple(row), _AttemptLine)
    cause = _CAUSES.get(line.outcome)
    if cause is None:
        msg = f"outcome {line.outcome}: no attempt ends so"
        raise ValueError(msg)
    return (line.rev, 0, 0), Entry(line.rev, cause, line.position, line.attempt, unpack(line.changes))


def columns_of(head: Head) -> dict[str, Any]:
    """Return what a move writes into the row: all but what never changes."""
    return {
        "state": head.state.value,
        "position": head.position,
        "step_state": None if head.step_state is None else head.step_state.value,
        "attempt": head.attempt,
        "attempt_started_at": head.attempt_started_at,
        "due_at": head.due_at,
        "started_at": head.started_at,
        "ended_at": head.ended_at,
        "resumable": head.resumable,
        "run_token": head.token,
        "run_id": head.run_id,
        "rev": head.rev,
        "owner": head.owner,
        "request": head.request,
        "stop_grace": head.stop_grace,
        "scheduled_at": head.scheduled_at,
        "undoing": head.undoing,
        "wait": None if head.wait is None else _encode(head.wait).decode(),
        "waiter": head.waiter,
        "parent_id": head.parent_id,
        "wait_topic": None if head.wait is None else head.wait.signal,
    }


def attempt_row(move: Move, ended: Ended) -> dict[str, Any]:
    """Return the row of an attempt that ended."""
    error = ended.error
    return {
        "workflow_id": move.after.id,
        "position": ended.position,
        "attempt": ended.attempt,
        "rev": move.after.rev,
        "run_token": move.before.token,
        "outcome": ended.outcome.value,
        "before": move.before.state.value,
        "after": move.after.state.value,
        "started_at": ended.started_at,
        "ended_at": ended.ended_at,
        "changes": pack(ended.delta),
        "output": ended.output,
        "error_type": error and error.type,
        "error_message": error and error.message,
        "error_traceback": error and error.traceback,
    }


def event_row(head: Head, noted: Noted, uid: str, before: WorkflowState | None) -> dict[str, Any]:
    """Return the row of a line of the history; `head` is the one after it."""
    return {
        "uid": uid,
        "workflow_id": head.id,
        "rev": head.rev,
        "at": noted.at,
        "cause": noted.cause.value,
        "position": noted.position,
        "attempt": noted.attempt,
        "before": before and before.value,
        "after": head.state.value,
        "actor": noted.by.actor,
        "reason": noted.by.reason,
        "detail": noted.detail,
        "changes": pack(noted.delta),
        "output": noted.output,
    }


def error_of(row: Row) -> ErrorInfo | None:
    """Return the error of an attempt's row."""
    if row.error_type is None:
        return None
    return ErrorInfo(row.error_type, row.error_message, row.error_traceback)


def ended_of(row: Row) -> Ended:
    """Return the attempt that a row holds."""
    return Ended(
        row.position,
        row.attempt,
        StepState(row.outcome),
        row.started_at,
        row.ended_at,
        unpack(row.changes),
        row.output,
        error_of(row),
    )


def noted_of(row: Row) -> Noted:
    """Return the line that a row of `awfe_event` holds."""
    by = By(row.actor, row.reason)
    return Noted(Cause(row.cause), row.at, row.position, by, unpack(row.changes), row.detail, row.attempt)
