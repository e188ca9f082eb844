"""What must hold for each workflow in the tables, whatever has happened to engines, networks and servers.

It reads the tables with SQL of its own and shares no code with what it checks.
"""

import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Iterator
from itertools import groupby
from typing import Any, Final

from sqlalchemy import URL, text
from sqlalchemy.ext.asyncio import AsyncConnection

from awfe.testing.histories import ACTIVE, History, Line, histories, snapshot

# Each of these is a move of its own: no attempt ends with it.
_ALONE: Final = ("created", "run", "attempt_begun", "checkpoint", "reset", "reset_from", "skip", "update_context")
# Each of these takes a new fencing token.
_TAKES_TOKEN: Final = ("run", "takeover", "fenced", "reset", "reset_from", "skip", "update_context")
_STEP_STATES: Final = {
    "pending": ("pending",),
    "running": ("running", "pending"),
    "paused": ("pending",),
    "stopped": ("pending", "stopped", "interrupted"),
    "error": ("error", "interrupted"),
    "completed": (None,),
}


async def violations(url: str | URL, names: Collection[str] | None = None) -> list[str]:
    """Return a sentence for each invariant that a workflow violates; of all workflows, or of these.

    Engines may be at work meanwhile: it reads one snapshot. A database error is raised as SQLAlchemy's own.
    """
    async with snapshot(url) as connection:
        found = [
            f"{history.name!r}: {sentence}"
            async for history in histories(connection, names)
            for sentence in check(history)
        ]
        if names is None:
            found += [sentence async for sentence in _strays(connection)]
    return found


def check(history: History) -> Iterator[str]:
    """Yield a sentence for each invariant that this workflow violates."""
    yield from _steps(history)
    yield from _revisions(history)
    yield from _attempts(history)
    yield from _tokens(history)
    yield from _changes(history)
    yield from _Replay(history).problems()
    yield from _row(history)


async def _strays(connection: AsyncConnection) -> AsyncIterator[str]:
    for table in ("awfe_step", "awfe_attempt", "awfe_event"):
        query = f"SELECT DISTINCT workflow_id FROM {table} WHERE workflow_id NOT IN (SELECT id FROM awfe_workflow)"  # noqa: S608 - names of this module
        for row in await connection.execute(text(query)):
            yield f"{table} has rows of workflow {row.workflow_id}, which is not there"


def _steps(history: History) -> Iterator[str]:
    positions = [step["position"] for step in history.steps]
    if positions != list(range(1, history.row["step_count"] + 1)):
        yield f"its steps are at {positions}, but it has {history.row['step_count']}"
    for step in history.steps:
        for column in ("args", "policies"):
            if not isinstance(_decoded(step[column]), dict):
                yield f"the {column} of step {step['position']} are no JSON object"


def _revisions(history: History) -> Iterator[str]:
    moves = [line for line in history.lines if not line.is_request]
    made = {line.rev for line in moves}
    last = history.row["rev"]
    for rev in sorted(set(range(last + 1)) - made):
        yield f"revision {rev} has left no line"
    for line in history.lines:
        if line.rev > last:
            yield f"{line.what} is beyond the row's revision {last}"
        if line.is_request and line.rev not in made:
            yield f"{line.what} asks a runner at a revision that nobody made"
    for rev, group in groupby(moves, key=lambda line: line.rev):
        lines = list(group)
        kinds = Counter(line.token is None for line in lines)
        alone = [line for line in lines if line.cause in _ALONE]
        if max(kinds.values()) > 1 or (alone and len(lines) > 1):
            yield f"revision {rev} was made twice: by {' and '.join(line.cause for line in lines)}"


def _attempts(history: History) -> Iterator[str]:
    numbers: dict[int, list[int]] = defaultdict(list)
    for line in history.attempts:
        numbers[line.position].append(line.attempt or 0)
    for position, seen in sorted(numbers.items()):
        yield from (
            f"attempt {n} of step {position} was committed twice" for n, times in Counter(seen).items() if times > 1
        )
        expected = range(1, max(seen) + 1)
        yield from (f"attempt {n} of step {position} is missing" for n in expected if n not in seen)
        if seen != sorted(seen):
            yield f"the attempts of step {position} were committed in the order {seen}"
    row = history.row
    if row["position"] is not None:
        last = max(numbers[row["position"]], default=0) + (row["step_state"] == "running")
        if row["attempt"] != last:
            yield f"its row stands at attempt {row['attempt']} of step {row['position']}, its log at {last}"


def _tokens(history: History) -> Iterator[str]:
    least = 0
    for line in history.lines:
        if line.token is not None:
            if line.token < least:
                yield f"{line.what} was committed with the fencing token {line.token}, when it was {least} already"
            if line.token > history.row["run_token"]:
                yield f"{line.what} has the token {line.token}, beyond the row's {history.row['run_token']}"
            least = max(least, line.token)
        least += line.cause in _TAKES_TOKEN
    if history.row["run_token"] < least:
        yield f"its fencing token is {history.row['run_token']}, but its log has used {least}"


def _changes(history: History) -> Iterator[str]:
    for line in history.lines:
        if line.changes is None:
            continue
        delta = _decoded(line.changes)
        fits = isinstance(delta, dict) and delta.keys() <= {"set", "unset"}
        if not fits or type(delta.get("set", {})) is not dict or type(delta.get("unset", [])) is not list:
            yield f"the changes of {line.what} can't be read: {line.changes!r:.60}"


def _decoded(data: str) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


class _Replay:
    """Follows the log and says where it contradicts itself, or the row."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._rev = -1
        self._before: str | None = None
        self._state: str | None = None
        self._at = 1
        self._passed: set[int] = set()
        self._ended: Counter[int] = Counter()
        self._asked: Line | None = None

    def problems(self) -> Iterator[str]:
        for line in self._history.lines:
            if line.rev != self._rev and not line.is_request:
                # All lines of one move come from the same state.
                self._rev, self._before = line.rev, self._state
            yield from self._line(line)
        row = self._history.row
        if row["state"] != self._state:
            yield f"its row is {row['state']}, its log {self._state}"
        if (row["position"] or row["step_count"] + 1) != self._at:
            yield f"its row stands at step {row['position']}, its log at {self._at}"
        if row["state"] == "completed" and (left := set(range(1, row["step_count"] + 1)) - self._passed):
            yield f"it is completed, but its steps {sorted(left)} are neither completed nor skipped"

    def _line(self, line: Line) -> Iterator[str]:
        before = self._state if line.is_request else self._before
        if line.before != before:
            late = ", so it came after the workflow's end" if before == "completed" else ""
            yield f"{line.what} says that it was {line.before}, but it was {before}{late}"
        if line.is_request:
            self._asked = line
        elif self._asked is not None and line.after != "running":
            self._asked = None
        elif self._asked is not None and line.cause != "checkpoint":
            yield f"a step began with {line.what}, although {self._asked.what} had asked it not to"
        if line.token is not None:
            yield from self._attempt(line)
        elif line.cause in ("run", "checkpoint", "attempt_begun") and line.position != self._at:
            yield f"{line.what} is about step {line.position}, but it stood at step {self._at}"
        elif line.cause == "checkpoint" and line.attempt != self._ended[line.position] + 1:
            yield f"{line.what} is of attempt {line.attempt} of step {line.position}, which did not run"
        elif line.cause == "skip":
            self._passed.add(line.position)
            self._at = line.position + 1
        elif line.cause == "reset_from":
            self._at = line.position + 1
            self._passed = {position for position in self._passed if position <= line.position}
        self._state = line.after

    def _attempt(self, line: Line) -> Iterator[str]:
        if line.position != self._at:
            again = " and was passed already" if line.position in self._passed else ""
            yield f"{line.what} is about step {line.position}{again}, but it stood at step {self._at}"
        self._ended[line.position] += 1
        if line.cause in ("step_completed", "step_skipped"):
            self._passed.add(line.position)
            self._at = line.position + 1


def _row(history: History) -> Iterator[str]:
    row = history.row
    state, step_state, position = row["state"], row["step_state"], row["position"]
    if state in _STEP_STATES and step_state not in _STEP_STATES[state]:
        yield f"it is {state}, and its step {step_state}"
    if (state == "completed") != (position is None) or not 1 <= (position or 1) <= row["step_count"]:
        yield f"it is {state}, at step {position} of {row['step_count']}"
    held = {
        "ended_at": state in ("completed", "rolled_back"),
        "attempt_started_at": state in ACTIVE and step_state == "running",
        "due_at": state in ACTIVE and step_state == "pending",
        "started_at": bool(history.attempts) or state in ACTIVE or row["started_at"] is not None,
        "request": state in ACTIVE and row["request"] is not None,
        "owner": state in ACTIVE or (row["owner"] is not None and state in ("paused", "stopped", "error")),
    }
    for column, there in held.items():
        if (row[column] is not None) != there:
            yield f"it is {state} and its step {step_state}, and its {column} is {row[column]}"
    if row["resumable"] and state != "paused":
        yield f"it is {state}, and resumable"
