"""Records: frozen, compared by value, and convertible to plain data."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from awfe.domain.outcomes import ErrorInfo
from awfe.domain.records import Changes, Event, Recovered, Tombstone, Workflow, WorkflowStep, WorkflowSummary
from awfe.domain.states import Cause, StepState, WorkflowState

AT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
AT_TEXT = "2026-01-02T03:04:05.000678Z"
ERROR = ErrorInfo("ValueError", "no", "Traceback")


def make_step() -> WorkflowStep:
    """Return a step that failed."""
    changes = Changes({"a": 1}, ("b",))
    return WorkflowStep(
        1, "Copy", "m:Copy", {"to": "x"}, StepState.ERROR, 2, AT, AT, changes, "text", ERROR, None, None
    )


def make_workflow() -> Workflow:
    """Return a workflow in error."""
    error = WorkflowState.ERROR
    return Workflow("deploy", error, {"a": [1]}, {}, (make_step(),), 1, None, AT, None, AT, None, 4)


def make_summary() -> WorkflowSummary:
    """Return the line of a workflow that is asked to pause."""
    return WorkflowSummary("deploy", WorkflowState.RUNNING, 1, "Copy", "pause", None, AT, AT, None)


def make_event() -> Event:
    """Return a line of a history."""
    before, after = WorkflowState.ERROR, WorkflowState.PAUSED
    return Event("deploy", AT, Cause.SKIP, 1, None, before, after, "ann", "because", Changes({"a": 1}), None)


def make_tombstone() -> Tombstone:
    """Return what is left of a workflow."""
    return Tombstone("deploy", AT, "ann", None)


def make_recovered() -> Recovered:
    """Return what a recovery did."""
    return Recovered(("a",), ("b",))


MAKERS = [make_step, make_workflow, make_summary, make_event, make_tombstone, make_recovered]


@pytest.mark.parametrize("make", MAKERS)
def test_records_compare_by_value_and_can_not_be_changed(make: Any) -> None:
    """A record is what was true when it was read."""
    record = make()
    assert record == make()
    field = record.__struct_fields__[0]
    with pytest.raises(AttributeError):
        setattr(record, field, None)
    assert msgspec.structs.replace(record, **{field: "other"}) != record


@pytest.mark.parametrize("make", MAKERS)
def test_every_field_is_in_the_plain_data(make: Any) -> None:
    """And all of it is JSON."""
    record = make()
    plain = record.to_dict()
    assert list(plain) == list(record.__struct_fields__)
    assert json.loads(json.dumps(plain)).keys() == plain.keys()


def test_plain_data_has_no_classes_left() -> None:
    """States and causes are text, times are ISO 8601 in UTC, steps and errors are dicts."""
    plain = make_workflow().to_dict()
    assert (type(plain["state"]), plain["state"], plain["created_at"]) == (str, "error", AT_TEXT)
    (step,) = plain["steps"]
    assert (step["state"], step["started_at"], step["due_at"]) == ("error", AT_TEXT, None)
    assert json.loads(json.dumps(step["changes"])) == {"set": {"a": 1}, "unset": ["b"]}
    assert step["error"] == {"type": "ValueError", "message": "no", "traceback": "Traceback"}
    assert make_event().to_dict()["cause"] == "skip"


def test_a_state_is_its_text() -> None:
    """`workflow.state == "completed"` holds."""
    assert make_workflow().state == "error"
    assert f"{make_workflow().state}" == "error"


def test_changes_are_none_by_default() -> None:
    """Each with a dict of its own."""
    assert Changes() == Changes({}, ())
    assert Changes().set is not Changes().set


def test_times_of_another_zone_are_the_same_times() -> None:
    """Records compare instants."""
    there = AT.astimezone(timezone(timedelta(hours=2)))
    assert msgspec.structs.replace(make_tombstone(), deleted_at=there) == make_tombstone()
