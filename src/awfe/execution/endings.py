"""What a run raises, from where it came to rest."""

import asyncio
from collections.abc import Sequence

from awfe.domain.moves import Head
from awfe.domain.states import StepState, WorkflowState
from awfe.domain.step import BaseStep
from awfe.errors import StepError, StepTimeout, WorkflowHalted, WorkflowPaused, WorkflowStopped
from awfe.execution.attempt import Attempt

_HALTED: dict[WorkflowState, type[WorkflowHalted]] = {
    WorkflowState.PAUSED: WorkflowPaused,
    WorkflowState.STOPPED: WorkflowStopped,
}


def of(head: Head, attempt: Attempt | None, steps: Sequence[BaseStep]) -> Exception | None:
    """Return what the run raises, None for a workflow that is completed."""
    if head.state is WorkflowState.COMPLETED:
        return None
    if head.state is not WorkflowState.ERROR:
        return halted(head.name, head.state, attempt)
    return _failed(head, attempt, type(steps[head.at - 1]).__name__)


def halted(name: str, state: WorkflowState, attempt: Attempt | None = None) -> WorkflowHalted:
    """Return what a run raises that was asked to halt; the cause is what the step raised when it was cut short."""
    began = attempt is not None
    error = _HALTED[state](name, f"{name!r} is {state}" if began else f"{name!r} was taken out of line: not begun")
    if attempt is not None and not isinstance(attempt.error, asyncio.CancelledError):
        error.__cause__ = attempt.error
    return error


def _failed(head: Head, attempt: Attempt | None, step: str) -> StepError:
    cause = None if attempt is None else attempt.error
    what = type(cause).__name__ if attempt is None or attempt.described is None else attempt.described.first_line
    if head.step_state is StepState.INTERRUPTED:
        what = "interrupted, because the engine was closed"
    kind = StepTimeout if attempt is not None and attempt.timed_out else StepError
    error = kind(head.name, f"{head.name!r} failed at step {head.position} ({step}): {what}", step, head.at)
    error.__cause__ = cause
    return error
