"""Workflows in some state, for tests of what happens to them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from awfe.domain.claims import Claimant
from awfe.domain.delta import NO_CHANGE, Delta
from awfe.domain.moves import By, Ended, Head, Noted
from awfe.domain.states import ACTIVE, ENDED, StepState, WorkflowState
from awfe.domain.waits import Wait

CREATED_AT = datetime(2026, 1, 1, tzinfo=UTC)
STARTED_AT = CREATED_AT + timedelta(hours=1)
NOW = CREATED_AT + timedelta(hours=2)
LATER = CREATED_AT + timedelta(hours=3)


def head(state: WorkflowState = WorkflowState.PENDING, **changes: Any) -> Head:
    """Return the head of a workflow of three steps, at rest at its first."""
    known: dict[str, Any] = {
        "id": 7,
        "name": "deploy",
        "step_count": 3,
        "state": state,
        "position": 1,
        "step_state": StepState.PENDING,
        "attempt": 0,
        "created_at": CREATED_AT,
    }
    return Head(**(known | changes))


def running(**changes: Any) -> Head:
    """Return the head of a workflow whose first step runs."""
    known: dict[str, Any] = {
        "step_state": StepState.RUNNING,
        "attempt": 1,
        "attempt_started_at": STARTED_AT,
        "started_at": STARTED_AT,
        "token": 1,
        "run_id": "r1",
        "rev": 1,
        "owner": "host:1",
    }
    return head(WorkflowState.RUNNING, **(known | changes))


def resting(state: WorkflowState, step_state: StepState, **changes: Any) -> Head:
    """Return the head of a workflow that has run and rests at its second step."""
    known: dict[str, Any] = {"position": 2, "attempt": 1, "started_at": STARTED_AT, "token": 3, "rev": 9}
    return head(state, step_state=step_state, **(known | changes))


def waiting(wait: Wait | None, state: WorkflowState = WorkflowState.WAITING, **changes: Any) -> Head:
    """Return the head of a workflow whose first step waits, or with None for its next attempt."""
    known: dict[str, Any] = {"attempt": 1, "started_at": STARTED_AT, "token": 1, "run_id": "r1", "rev": 2}
    known |= {"waiter": "host:1", "due_at": LATER, "wait": wait}
    if wait is not None:
        known |= {"step_state": StepState.WAITING, "attempt_started_at": STARTED_AT}
    return head(state, **(known | changes))


def rolling_back(**changes: Any) -> Head:
    """Return the head of a workflow that undoes its second step."""
    known: dict[str, Any] = {"position": 2, "attempt": 2, "undoing": True}
    return replace(running(**(known | changes)), state=WorkflowState.ROLLING_BACK)


def claimant(now: datetime = NOW, by: By = By("ann", "because")) -> Claimant:  # noqa: B008 - frozen
    """Return who claims a workflow."""
    return Claimant("r2", "host:2", now, by, 7.5)


def completed(**changes: Any) -> Head:
    """Return the head of a workflow that is done."""
    known: dict[str, Any] = {"position": None, "step_state": None, "attempt": 0, "started_at": STARTED_AT}
    return head(WorkflowState.COMPLETED, **(known | {"ended_at": NOW, "token": 1, "rev": 4} | changes))


def ended(of: Head, outcome: StepState, delta: Delta = NO_CHANGE) -> Ended:
    """Return the end of the attempt that a head runs."""
    return Ended(of.at, of.attempt, outcome, STARTED_AT, NOW, delta)


def essence(noted: Noted | None) -> tuple[str, int, str | None] | None:
    """Return cause, position and detail of what was noted."""
    return None if noted is None else (noted.cause.value, noted.position, noted.detail)


def assert_storable(head: Head) -> None:
    """Check what the schema's CHECKs hold, and what can be read again, and a little more."""
    active, waits = head.state in ACTIVE, head.step_state is StepState.WAITING
    assert head.request is None or active
    assert head.stop_grace is None or active
    assert head.due_at is None or active or waits or head.state is WorkflowState.WAITING
    assert (head.ended_at is not None) == (head.state in ENDED)
    assert (head.position is None) == (head.step_state is None) == (head.state in ENDED)
    assert (head.attempt_started_at is not None) == (waits or head.step_state is StepState.RUNNING)
    assert (head.wait is not None) == waits
    assert not waits or head.state in (WorkflowState.RUNNING, WorkflowState.WAITING, WorkflowState.PAUSED)
    assert head.step_state is not StepState.RUNNING or active
    assert head.state is not WorkflowState.WAITING or waits or head.due_at is not None
    assert head.position is None or 1 <= head.position <= head.step_count
    assert not head.resumable or head.state is WorkflowState.PAUSED
    assert head.attempt >= 0
    assert head.owner is not None or not active
    assert head.owner is None or head.state is not WorkflowState.WAITING
    back = (WorkflowState.ROLLING_BACK, WorkflowState.ROLLED_BACK)
    halted = (WorkflowState.PAUSED, WorkflowState.STOPPED, WorkflowState.ERROR)
    assert head.undoing or head.state not in back
    assert not head.undoing or head.state in (*back, *halted)
