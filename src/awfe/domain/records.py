"""What the verbs return: frozen records that compare by value.

Of some kinds a workflow has one for each of its steps. They hold plain data, in no circle that the collector could
find, so it is told not to look at them.
"""

from datetime import datetime
from typing import Any, Literal

import msgspec

from awfe.domain.outcomes import ErrorInfo
from awfe.domain.states import Cause, StepState, WorkflowState

RequestName = Literal["pause", "stop"]


class _Record(msgspec.Struct, frozen=True):
    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as JSON has it: times are ISO 8601 in UTC."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


class Changes(_Record, frozen=True, gc=False):
    """What was changed in the context: keys that were set, with their values, and keys that were removed."""

    set: dict[str, Any] = {}
    unset: tuple[str, ...] = ()


class WorkflowStep(_Record, frozen=True, gc=False):
    """A step of a workflow as it stands; `position` counts from 1.

    `changes`, `output` and `error` are those of its last attempt; a change counts only where the step is completed,
    was skipped with it, or had checkpointed it. `due_at` is when a retry that waits begins, or the wait of the step is
    over; `signal` is the topic that it waits for.
    """

    position: int
    name: str
    impl: str
    args: dict[str, Any]
    state: StepState
    attempt: int
    started_at: datetime | None
    ended_at: datetime | None
    changes: Changes
    output: str
    error: ErrorInfo | None
    due_at: datetime | None
    signal: str | None


class Workflow(_Record, frozen=True):
    """A workflow as it stands; `position` is that of its current step, None when all are done.

    `scheduled_at` is when `recover()` may start it.
    """

    name: str
    state: WorkflowState
    context: dict[str, Any]
    initial_context: dict[str, Any]
    steps: tuple[WorkflowStep, ...]
    position: int | None
    request: RequestName | None
    created_at: datetime
    scheduled_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    revision: int


class WorkflowSummary(_Record, frozen=True):
    """A line of a list: no context, no steps; `error` is the first line of the current step's error."""

    name: str
    state: WorkflowState
    position: int | None
    step: str | None
    request: RequestName | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class Event(_Record, frozen=True):
    """A line of a workflow's history; observers get the same. `step` is a position."""

    workflow: str
    at: datetime
    cause: Cause
    step: int | None
    attempt: int | None
    before: WorkflowState | None
    after: WorkflowState | None
    actor: str | None
    reason: str | None
    changes: Changes
    error: ErrorInfo | None


class Tombstone(_Record, frozen=True):
    """What is left of a deleted workflow."""

    name: str
    deleted_at: datetime
    actor: str | None
    reason: str | None


class Recovered(_Record, frozen=True):
    """What `recover()` did: names of the workflows it started, and of those that need an operator."""

    started: tuple[str, ...]
    refused: tuple[str, ...]


class StepDiff(_Record, frozen=True):
    """A step that is not as it was saved; positions count from 1, `before` among the saved and `after` in the list.

    `was` and `now` hold the arguments that differ, and with its policies `"using"`; one that was reordered may have
    such too.
    """

    kind: Literal["added", "removed", "changed", "reordered"]
    name: str
    impl: str
    before: int | None
    after: int | None
    was: dict[str, Any] = {}
    now: dict[str, Any] = {}


class Diff(_Record, frozen=True):
    """How the saved steps of a workflow differ from a list: true where they do, and what they differ in."""

    steps: tuple[StepDiff, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether anything differs."""
        return bool(self.steps)

    def __str__(self) -> str:
        """Return a line for each step that differs."""
        return "\n".join(map(_line_of, self.steps))

    def _of(self, kind: str) -> tuple[StepDiff, ...]:
        return tuple(each for each in self.steps if each.kind == kind)

    @property
    def added(self) -> tuple[StepDiff, ...]:
        """Steps that only the list has."""
        return self._of("added")

    @property
    def removed(self) -> tuple[StepDiff, ...]:
        """Steps that only the workflow has."""
        return self._of("removed")

    @property
    def changed(self) -> tuple[StepDiff, ...]:
        """Steps with other arguments or policies, in their place."""
        return self._of("changed")

    @property
    def reordered(self) -> tuple[StepDiff, ...]:
        """Steps that come before or after others than they did."""
        return self._of("reordered")


def _line_of(each: StepDiff) -> str:
    where = " → ".join(str(position) for position in (each.before, each.after) if position is not None)
    differs = "".join(
        f"; {key}: {each.was.get(key, 'not there')!r} → {each.now.get(key, 'not there')!r}"
        for key in dict.fromkeys((*each.was, *each.now))
    )
    return f"{each.kind} {where} {each.name}{differs}"


class Purged(_Record, frozen=True):
    """What `purge()` did: names of what is deleted, and of what is old but was left, since part of it still runs."""

    deleted: tuple[str, ...]
    refused: tuple[str, ...]


Action = Literal["run", "keep", "skip", "undo"]
_RUNNING = ("run", "resume", "start", "restart", "rollback")


class PlannedStep(_Record, frozen=True):
    """What a verb makes of a step; `state` is as it stands.

    `run`: it runs now, or when the workflow goes on. `keep`: it is left as it is. `skip`: it is passed over.
    `undo`: its `undo` runs.
    """

    position: int
    name: str
    state: StepState
    action: Action


class Dropped(_Record, frozen=True):
    """A change of the context that a verb drops, and what had made it.

    `position` is that of its step, 0 before the first. `saved`: it is in the context; otherwise an attempt that failed
    or was cut off has left it, and `keep_context` would have taken it over.
    """

    position: int
    cause: Cause
    saved: bool
    changes: Changes


class Plan(_Record, frozen=True):
    """What a verb would do to a workflow, or why it would be refused; `str(plan)` is for people.

    `state` is as it stands, None where the tables don't tell; `leads_to` is where it comes to rest when no step fails,
    None where nothing is left of it. `why_not` is the message of the `error` that the verb would raise, and `error` the
    name of its class; nothing would change then. `context` is as the verb leaves it, without what steps will do.
    """

    workflow: str
    verb: str
    state: WorkflowState | None
    leads_to: WorkflowState | None
    allowed: bool
    why_not: str | None = None
    error: str | None = None
    steps: tuple[PlannedStep, ...] = ()
    context: dict[str, Any] = {}
    dropped: tuple[Dropped, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """Return the plan as lines of text: of the context only the keys, since values may be long."""
        what = f"{self.verb} {self.workflow!r}: {self.state or 'not understood'}"
        if not self.allowed:
            return (f"{what}, refused", f"  {self.why_not}")
        leads_to = "deleted" if self.leads_to is None else self.leads_to
        where = f"stays {leads_to}" if leads_to == self.state else f"→ {leads_to}"
        steps = [f"  {step.action:<5} step {step.position} {step.name} ({step.state})" for step in self.steps]
        if self.verb not in _RUNNING and any(step.action in ("run", "undo") for step in self.steps):
            where += "; runs nothing by itself: these are for when it goes on"
        return (f"{what} {where}", *steps, *(f"  drop  {line}" for line in map(_dropped, self.dropped)))

    def __str__(self) -> str:
        """Return the lines as one text."""
        return "\n".join(self.lines())


def _dropped(change: Dropped) -> str:
    keys = ", ".join((*change.changes.set, *(f"-{key}" for key in change.changes.unset)))
    where = f"at step {change.position}" if change.position else "before step 1"
    return f"{keys} ({change.cause} {where}{'' if change.saved else ', not in the context'})"
