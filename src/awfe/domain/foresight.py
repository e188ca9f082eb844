"""What a move would make of a workflow, told before it is made: pure, from what was read of it to a plan."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from awfe.domain import events
from awfe.domain.log import Entry, Progress, entries, replay
from awfe.domain.moves import Head, Move
from awfe.domain.records import Action, Dropped, Plan, PlannedStep
from awfe.domain.states import Cause, StepState, WorkflowState
from awfe.domain.step import StepSpec
from awfe.domain.values import decode
from awfe.errors import AwfeError

_NEW_BEGINNING = (Cause.RESET, Cause.RESET_FROM, Cause.SKIP)


@dataclass(frozen=True)
class Seen:
    """A workflow as it was read, or as moves would leave it; `unsaved` is the last attempt of its current step.

    That is there only where the attempt left changes that are not in the context.
    """

    head: Head
    specs: Sequence[StepSpec]
    log: Sequence[Entry]
    unsaved: Entry | None = None

    @cached_property
    def progress(self) -> Progress:
        """What its log adds up to."""
        return replay(self.log)

    def after(self, move: Move) -> "Seen":
        """Return it as a move would leave it."""
        begins = move.ended is not None or move.cause in _NEW_BEGINNING
        return Seen(move.after, self.specs, [*self.log, *entries(move)], None if begins else self.unsaved)


@dataclass(frozen=True)
class Forecast:
    """What a verb makes of a workflow: where it leads, and which steps it undoes and skips.

    `taken`: the keys of the unsaved changes that are taken over; `gone`: nothing is left of it.
    """

    after: Seen
    leads_to: WorkflowState | None
    undone: Collection[int] = ()
    skipped: int | None = None
    taken: Collection[str] = ()
    gone: bool = field(default=False, kw_only=True)


def plan(verb: str, seen: Seen, forecast: Forecast) -> Plan:
    """Return the plan of a verb that is allowed."""
    after = forecast.after
    return Plan(
        workflow=seen.head.name,
        verb=verb,
        state=seen.head.state,
        leads_to=forecast.leads_to,
        allowed=True,
        steps=() if forecast.gone else _steps(seen, _actions(forecast)),
        context={} if forecast.gone else _context(after),
        dropped=tuple(_dropped(seen, forecast)),
    )


def refused(verb: str, seen: Seen, error: AwfeError) -> Plan:
    """Return the plan of a verb that would raise this: all stays as it is."""
    kept: dict[int, Action] = dict.fromkeys(range(1, seen.head.step_count + 1), "keep")
    return Plan(
        workflow=seen.head.name,
        verb=verb,
        state=seen.head.state,
        leads_to=seen.head.state,
        allowed=False,
        why_not=str(error),
        error=type(error).__name__,
        steps=_steps(seen, kept),
        context=_context(seen),
        dropped=(),
    )


def _context(seen: Seen) -> dict[str, object]:
    return {key: decode(data) for key, data in seen.progress.context().items()}


def _steps(seen: Seen, actions: Mapping[int, Action]) -> tuple[PlannedStep, ...]:
    head, ended = seen.head, seen.progress.ended
    return tuple(
        PlannedStep(
            spec.position,
            spec.name,
            (head.step_state if spec.position == head.position else None)
            or ended.get(spec.position, StepState.PENDING),
            actions[spec.position],
        )
        for spec in seen.specs
    )


def _actions(forecast: Forecast) -> dict[int, Action]:
    head = forecast.after.head
    actions: dict[int, Action] = dict.fromkeys(range(1, head.step_count + 1), "keep")
    if head.position is not None and not head.undoing:
        # Only a poll calls a step again that waits.
        waits = head.waits and not (head.wait is not None and head.wait.kind == "again")
        actions |= dict.fromkeys(range(head.position + waits, head.step_count + 1), "run")
    actions |= dict.fromkeys(forecast.undone, "undo")
    if forecast.skipped is not None:
        actions[forecast.skipped] = "skip"
    return actions


def _dropped(seen: Seen, forecast: Forecast) -> Iterator[Dropped]:
    left = set() if forecast.gone else {(layer.rev, layer.cause) for layer in forecast.after.progress.layers}
    for layer in seen.progress.layers:
        if (layer.rev, layer.cause) not in left:
            yield Dropped(layer.position, layer.cause, saved=True, changes=events.changes_of(layer.delta))
    unsaved = seen.unsaved
    if unsaved is not None and unsaved.delta and (forecast.gone or forecast.after.unsaved is None):
        rest = unsaved.delta.without(forecast.taken)
        if rest:
            yield Dropped(unsaved.position, unsaved.cause, saved=False, changes=events.changes_of(rest))
