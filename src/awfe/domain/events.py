"""The lines of a history, which observers get as they are committed."""

from collections.abc import Iterator

from awfe.domain.delta import Delta
from awfe.domain.moves import Ended, Move, Noted
from awfe.domain.records import Changes, Event
from awfe.domain.states import Cause, WorkflowState
from awfe.domain.values import decode

# About the whole workflow, not about one of its steps.
_WHOLE = (Cause.CREATED, Cause.UPDATE_CONTEXT, Cause.SIGNAL, Cause.DELETE)


def changes_of(delta: Delta | None) -> Changes:
    """Return a change with its values decoded."""
    if not delta:
        return Changes()
    return Changes({key: decode(bytes(raw)) for key, raw in delta.set.items()}, delta.unset)


def of_ended(workflow: str, ended: Ended, before: WorkflowState, after: WorkflowState) -> Event:
    """Return the line of an attempt that ended."""
    return Event(
        workflow,
        ended.ended_at,
        Cause(f"step_{ended.outcome}"),
        ended.position,
        ended.attempt,
        before,
        after,
        None,
        None,
        changes_of(ended.delta),
        ended.error,
    )


def of_noted(workflow: str, noted: Noted, before: WorkflowState | None, after: WorkflowState | None) -> Event:
    """Return the line of what somebody did; of what awfe did by itself, what it noted stands for the reason."""
    detail = None if noted.cause in (Cause.RUN, Cause.ROLLBACK) else noted.detail
    step = noted.position + (noted.cause is Cause.RESET_FROM)
    return Event(
        workflow,
        noted.at,
        noted.cause,
        None if noted.cause in _WHOLE else step or None,
        noted.attempt,
        before,
        after,
        noted.by.actor,
        noted.by.reason or detail,
        changes_of(noted.delta),
        None,
    )


def of_move(move: Move) -> Iterator[Event]:
    """Return the lines that a move adds to the history."""
    name, before, after = move.before.name, move.before.state, move.after.state
    if move.ended is not None:
        yield of_ended(name, move.ended, before, after)
    if move.noted is not None:
        yield of_noted(name, move.noted, before, after)
