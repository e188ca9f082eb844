"""From rows and a replayed log to the records that the verbs return."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from awfe.domain import events
from awfe.domain.delta import NO_CHANGE, Delta
from awfe.domain.log import Entry, Progress, replay
from awfe.domain.moves import Head
from awfe.domain.records import Event, Workflow, WorkflowStep, WorkflowSummary
from awfe.domain.states import Cause, StepState, WorkflowState
from awfe.domain.step import StepSpec
from awfe.domain.values import decode
from awfe.persistence import codec, specs


def summary(head: Head, row: Any) -> WorkflowSummary:
    """Return a line of a list, from the joined columns of the current step and its last error."""
    error = codec.error_of(row)
    first_line = None if error is None else error.first_line
    return WorkflowSummary(
        head.name,
        head.state,
        head.position,
        row.step_name,
        head.request,
        first_line,
        head.created_at,
        head.started_at,
        head.ended_at,
    )


def workflow(head: Head, saved: list[StepSpec], log: list[Entry], attempts: Sequence[Any], waits: str) -> Workflow:
    """Return a workflow as its head, its log and its attempts tell it.

    `waits` is what a step has printed that now waits.
    """
    progress = replay(log)
    last: dict[int, Any] = {}
    for row in attempts:
        if (other := last.get(row.position)) is None or other.attempt < row.attempt:
            last[row.position] = row
    initial: dict[str, bytes] = {}
    by_position: defaultdict[int, list[Entry]] = defaultdict(list)
    for entry in log:
        by_position[entry.position].append(entry)
        if entry.cause is Cause.CREATED and entry.delta:
            entry.delta.apply(initial)
    return Workflow(
        name=head.name,
        state=head.state,
        context=_decoded(head.name, progress.context()),
        initial_context=_decoded(head.name, initial),
        steps=tuple(
            _step(spec, head, progress, by_position.get(spec.position, ()), last.get(spec.position), waits)
            for spec in saved
        ),
        position=head.position,
        request=head.request,
        created_at=head.created_at,
        scheduled_at=head.scheduled_at,
        started_at=head.started_at,
        ended_at=head.ended_at,
        revision=head.rev,
    )


def _decoded(name: str, values: Mapping[str, bytes]) -> dict[str, Any]:
    with codec.Understanding(name, "a value of its context"):
        return {key: decode(data) for key, data in values.items()}


def _step(spec: StepSpec, head: Head, progress: Progress, mine: Sequence[Entry], row: Any, waits: str) -> WorkflowStep:
    current = spec.position == head.position
    state = head.step_state if current else progress.ended.get(spec.position, StepState.PENDING)
    assert state is not None  # noqa: S101 - the schema holds it: a current step has a state
    number = head.attempt if current else progress.attempts.get(spec.position, 0)
    running = state in (StepState.RUNNING, StepState.WAITING)
    # A step that is pending again shows nothing of its past, which is in the history; one between two tries does.
    shown = None if running or (state is StepState.PENDING and not (current and head.due_at)) else row
    started_at = head.attempt_started_at if running else shown and shown.started_at
    return WorkflowStep(
        position=spec.position,
        name=spec.name,
        impl=spec.impl,
        args=specs.arguments_of(head.name, spec),
        state=state,
        attempt=number,
        started_at=started_at,
        ended_at=shown and shown.ended_at,
        changes=events.changes_of(_changes(mine, number, state, shown)),
        output=shown.output if shown is not None else waits * (state is StepState.WAITING),
        error=None if shown is None else codec.error_of(shown),
        due_at=head.due_at if current else None,
        signal=head.wait.signal if current and head.wait is not None else None,
    )


def _changes(mine: Sequence[Entry], number: int, state: StepState, shown: Any) -> Delta:
    if state is StepState.SKIPPED:
        skips = [entry for entry in mine if entry.cause is Cause.SKIP]
        # A skip ends an attempt that waits, in one move with it.
        if shown is None or (skips and skips[-1].rev >= shown.rev):
            return (skips[-1].delta if skips else None) or NO_CHANGE
    delta = NO_CHANGE
    seen = state is not StepState.PENDING or shown is not None
    for entry in mine:
        if entry.cause in (Cause.CHECKPOINT, Cause.STEP_WAITING) and entry.attempt == number and seen:
            delta = delta.then(entry.delta or NO_CHANGE)
    return delta if shown is None else delta.then(codec.unpack(shown.changes or shown.left))


def line_of_attempt(name: str, row: Any) -> tuple[tuple[int, int, int], Event]:
    """Return a line of the history with its place in it, from a row of `awfe_attempt`."""
    return (row.rev, 0, 0), events.of_ended(
        name, codec.ended_of(row), WorkflowState(row.before), WorkflowState(row.after)
    )


def line_of_event(name: str, row: Any) -> tuple[tuple[int, int, int], Event]:
    """Return a line of the history with its place in it, from a row of `awfe_event`."""
    before = None if row.before is None else WorkflowState(row.before)
    return (row.rev, 1, row.id), events.of_noted(name, codec.noted_of(row), before, WorkflowState(row.after))
