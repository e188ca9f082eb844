"""Between rows and values."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from awfe.domain.context import NO_CHANGE, Delta
from awfe.domain.moves import By, Ended, Head, Move, Noted
from awfe.domain.outcomes import ErrorInfo
from awfe.domain.states import Cause, StepState, WorkflowState

_deltas = msgspec.json.Decoder(Delta)
_encode = msgspec.json.encode

Row = Any


def pack(delta: Delta) -> str | None:
    """Return a change as JSON text; no change is NULL."""
    return _encode(delta).decode() if delta else None


def unpack(text: str | None) -> Delta:
    """Return the change that was packed."""
    return NO_CHANGE if text is None else _deltas.decode(text)


def head_of(row: Sequence[Any]) -> Head:
    """Return the head that the columns of `awfe_workflow` hold, in their order."""
    id_, name, step_count, state, position, step_state, *rest = row
    known = None if step_state is None else StepState(step_state)
    return Head(id_, name, step_count, WorkflowState(state), position, known, *rest)


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


def arguments_of(data: bytes | str) -> Mapping[str, Any]:
    """Return the saved arguments of a step."""
    return msgspec.json.decode(data, type=dict[str, Any])
