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

from awfe.testing.histories import History, histories, snapshot
from awfe.testing.replaying import Replay
from awfe.testing.rows import row_problems

# Each of these is a move of its own: no attempt ends with it.
_ALONE: Final = (
    *("created", "run", "attempt_begun", "checkpoint", "step_waiting"),
    *("reset", "update_context", "replace_steps"),
)
# With each of these only an attempt may end that waits.
_GIVES_UP: Final = ("reset_from", "skip", "rollback")
# Each of these takes a new fencing token; so do a pause and a stop of what waits.
_TAKES_TOKEN: Final = (
    "run",
    "takeover",
    "fenced",
    "reset",
    "reset_from",
    "skip",
    "update_context",
    "replace_steps",
    "rollback",
    "reject",
)
# What a workflow is sent by those that its steps have begun; nobody notes it.
_OF_CHILDREN: Final = "awfe.child"


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
    yield from _signals(history)
    yield from Replay(history).problems()
    yield from row_problems(history)


async def _strays(connection: AsyncConnection) -> AsyncIterator[str]:
    for table in ("awfe_step", "awfe_attempt", "awfe_event", "awfe_signal"):
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
    moves = [line for line in history.lines if line.is_move]
    made = {line.rev for line in moves}
    last = history.row["rev"]
    for rev in sorted(set(range(last + 1)) - made):
        yield f"revision {rev} has left no line"
    for line in history.lines:
        if line.rev > last:
            yield f"{line.what} is beyond the row's revision {last}"
        if not line.is_move and line.rev not in made:
            yield f"{line.what} asks a runner at a revision that nobody made"
    for rev, group in groupby(moves, key=lambda line: line.rev):
        lines = list(group)
        kinds = Counter(line.token is None for line in lines)
        alone = [line for line in lines if line.cause in _ALONE]
        gives_up = [line for line in lines if line.cause in _GIVES_UP] and lines[0].cause != "step_stopped"
        if max(kinds.values()) > 1 or ((alone or gives_up) and len(lines) > 1):
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
        last = max(numbers[row["position"]], default=0) + (row["step_state"] in ("running", "waiting"))
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
        least += line.cause in _TAKES_TOKEN or (line.cause in ("pause", "stop") and line.before == "waiting")
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


def _signals(history: History) -> Iterator[str]:
    sent = {line.uid for line in history.lines if line.cause in ("signal", "approve")}
    stored = {signal["uid"] for signal in history.signals if signal["topic"] != _OF_CHILDREN}
    # An approval is noted even when another was there already, and is not stored beside it.
    noted = {line.uid for line in history.lines if line.cause == "signal"}
    yield from (f"the signal {uid} was noted, and is not there" for uid in sorted(noted - stored, key=str))
    yield from (f"the signal {uid} is there, and nobody sent it" for uid in sorted(stored - sent, key=str))
    takes = {line.rev: line for line in history.lines if line.cause in ("run", "step_completed")}
    taken: Counter[int] = Counter()
    passed_over: set[str] = set()
    for signal in history.signals:
        rev, topic = signal["taken_rev"], signal["topic"]
        if rev is None:
            passed_over.add(topic)
            continue
        what = f"signal {signal['id']} ({topic!r})"
        taken[rev] += 1
        if rev not in takes:
            yield f"{what} was taken at revision {rev}, by which no step can take one"
        if topic != _waited_for(history, rev):
            yield f"{what} was taken at revision {rev}, when its topic was not waited for"
        if topic in passed_over and topic != _OF_CHILDREN:
            yield f"{what} was taken before an earlier one"
    yield from (f"revision {rev} has taken {n} signals" for rev, n in taken.items() if n > 1)


def _waited_for(history: History, rev: int) -> str | None:
    waits = [line for line in history.lines if line.cause == "step_waiting" and line.rev < rev]
    return waits[-1].detail if waits else None
