"""What a run raises, from where it came to rest."""

import asyncio
import re
from typing import NamedTuple

from awfe.domain.moves import Head
from awfe.domain.outcomes import ErrorInfo
from awfe.domain.records import Workflow
from awfe.domain.states import ENDED, StepState, WorkflowState
from awfe.domain.waits import Wait
from awfe.errors import StepError, StepTimeout, WorkflowHalted, WorkflowPaused, WorkflowStopped

_HALTED: dict[WorkflowState, type[WorkflowHalted]] = {
    WorkflowState.PAUSED: WorkflowPaused,
    WorkflowState.STOPPED: WorkflowStopped,
}


# What these two say, so that a record tells them from a time-out of the step's own.
_OF_TIME = re.compile(r"took longer than its timeout of \S+ s|no signal (['\"]).*\1 came within \S+ s")


def overtime(seconds: float | None) -> TimeoutError:
    """Return the error of an attempt that took longer than its step may."""
    return TimeoutError(f"took longer than its timeout of {seconds:g} s")


def unheard(wait: Wait) -> TimeoutError:
    """Return the error of a step whose signal did not come in time."""
    return TimeoutError(f"no signal {wait.signal!r} came within {wait.timeout:g} s")


class Fault(NamedTuple):
    """What the last attempt of a run raised, and what is kept of it."""

    error: BaseException | None = None
    described: ErrorInfo | None = None
    timed_out: bool = False


def of(head: Head, fault: Fault | None, step: str) -> Exception | None:
    """Return what the run raises, None for a workflow that has ended as it should, or waits; `step` is the current."""
    if head.state in (*ENDED, WorkflowState.WAITING):
        return None
    if head.state is not WorkflowState.ERROR:
        return halted(head.name, head.state, fault)
    fault = fault or Fault()
    what = type(fault.error).__name__ if fault.described is None else fault.described.first_line
    if head.step_state is StepState.INTERRUPTED:
        what = "interrupted, because the engine was closed"
    return _failed(head.name, head.at, step, what, fault, undoing=head.undoing)


def of_record(workflow: Workflow, *, undoing: bool) -> Exception | None:
    """Return what a run raises that was attached to a workflow, while others ran it, or rolled it back."""
    if workflow.state in ENDED:
        return None
    if workflow.state is not WorkflowState.ERROR or workflow.position is None:
        return halted(workflow.name, workflow.state, Fault())
    step = workflow.steps[workflow.position - 1]
    what = step.state if step.error is None else step.error.first_line
    fault = Fault(timed_out=step.error is not None and _is_of_time(step.error))
    return _failed(workflow.name, step.position, step.name, what, fault, undoing=undoing)


def halted(name: str, state: WorkflowState, fault: Fault | None = None) -> WorkflowHalted:
    """Return what a run raises that was asked to halt; the cause is what the step raised when it was cut short."""
    text = f"{name!r} was taken out of line: not begun" if fault is None else f"{name!r} is {state}"
    error = _HALTED.get(state, WorkflowPaused)(name, text)
    if fault is not None and not isinstance(fault.error, asyncio.CancelledError):
        error.__cause__ = fault.error
    return error


def _is_of_time(error: ErrorInfo) -> bool:
    return error.type == TimeoutError.__name__ and _OF_TIME.fullmatch(error.message) is not None


def _failed(name: str, position: int, step: str, what: str, fault: Fault, *, undoing: bool) -> StepError:
    kind = StepTimeout if fault.timed_out else StepError
    failed = "failed to undo step" if undoing else "failed at step"
    error = kind(name, f"{name!r} {failed} {position} ({step}): {what}", step, position)
    error.__cause__ = fault.error
    return error
