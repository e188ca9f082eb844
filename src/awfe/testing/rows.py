"""The row of a workflow: what its columns can be beside each other."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from awfe.testing.histories import ACTIVE, ENDED, History

_STEP_STATES: Final = {
    "pending": ("pending",),
    "running": ("running", "pending", "waiting"),
    "waiting": ("waiting", "pending"),
    "paused": ("pending", "waiting"),
    "stopped": ("pending", "stopped", "interrupted"),
    "error": ("error", "interrupted"),
    "completed": (None,),
    "rolling_back": ("running", "pending"),
    "rolled_back": (None,),
}
_FORWARD: Final = ("pending", "running", "waiting", "completed")


def row_problems(history: History) -> Iterator[str]:
    """Yield a sentence for each column that can't be true beside the others."""
    row = history.row
    state, step_state, position = row["state"], row["step_state"], row["position"]
    if state in _STEP_STATES and step_state not in _STEP_STATES[state]:
        yield f"it is {state}, and its step {step_state}"
    if (state in ENDED) != (position is None) or not 1 <= (position or 1) <= row["step_count"]:
        yield f"it is {state}, at step {position} of {row['step_count']}"
    held = {
        "ended_at": state in ENDED,
        "attempt_started_at": (state in ACTIVE and step_state == "running") or step_state == "waiting",
        "due_at": _is_due(row),
        "wait": step_state == "waiting",
        "started_at": bool(history.attempts) or state in ACTIVE or row["started_at"] is not None,
        "request": state in ACTIVE and row["request"] is not None,
        "owner": state in ACTIVE or (row["owner"] is not None and state in ("paused", "stopped", "error")),
    }
    for column, there in held.items():
        if (row[column] is not None) != there:
            yield f"it is {state} and its step {step_state}, and its {column} is {row[column]}"
    if row["resumable"] and state != "paused":
        yield f"it is {state}, and resumable"
    if (state in ("rolling_back", "rolled_back") and not row["undoing"]) or (state in _FORWARD and row["undoing"]):
        yield f"it is {state}, and its undoing is {row['undoing']}"
    if row["wait_topic"] != _wait(row).get("signal"):
        yield f"it waits for {row['wait']}, and its wait_topic is {row['wait_topic']}"
    if row["parent_id"] is not None and row["parent_id"] >= row["id"]:
        yield f"its parent {row['parent_id']} is younger than itself"


def _is_due(row: Mapping[str, Any]) -> bool:
    """Tell whether the row must have a time at which it is due."""
    if row["step_state"] == "waiting":
        wait = _wait(row)
        return wait.get("kind") in ("due", "again") or wait.get("timeout") is not None
    return row["step_state"] == "pending" and row["state"] in (*ACTIVE, "waiting")


def _wait(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the step waits for, as it was saved."""
    try:
        wait = json.loads(row["wait"] or "{}")
    except ValueError:
        return {}
    return wait if isinstance(wait, dict) else {}
