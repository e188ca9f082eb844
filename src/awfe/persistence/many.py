"""Many workflows looked up at once, each as `lookup` does it alone.

None stands for one of which nothing can be made: it may be wrong, or gone, or in the middle of being moved by others.
Who wants to know asks for it alone.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeVar

from sqlalchemy import Column, Select, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from awfe.domain.log import Progress, replay
from awfe.domain.moves import Head
from awfe.domain.records import Workflow
from awfe.domain.step import StepSpec
from awfe.errors import WorkflowError
from awfe.persistence import codec, specs, views
from awfe.persistence.lookup import ATTEMPTS, ENDING, LINE, SAVED, compare, entries_of, fetched, found, printed, until
from awfe.persistence.schema import attempt, event, step, workflow

T = TypeVar("T")
Rows = Mapping[Any, Sequence[Any]]
_Asked = tuple[Select[Any], Column[Any]]
_W: Final = len(workflow.c)
_NAME: Final = list(workflow.c).index(workflow.c.name)

# Each with the column by which it is asked.
_GLANCED: Final = (
    select(workflow, *LINE).outerjoin(event, event.c.workflow_id == workflow.c.id),
    workflow.c.id,
)
_HEADS: Final = (select(workflow), workflow.c.name)
# By itself: joined, each step would bring all columns of its workflow along.
_STEPS: Final = (select(step.c.workflow_id, *SAVED), step.c.workflow_id)
_NOTED: Final = (select(event.c.workflow_id, *LINE), event.c.workflow_id)
_ENDED: Final = (select(attempt.c.workflow_id, *ENDING), attempt.c.workflow_id)
_ATTEMPTS: Final = (ATTEMPTS, attempt.c.workflow_id)


async def glanced(ids: Sequence[int], connection: AsyncConnection) -> Sequence[tuple[Head, Progress] | None]:
    """Read heads, with what their logs add up to; without a lock, so it is only good for moves that are fenced."""
    noted = await _by_key(connection, _GLANCED, ids)
    ended = await _by_key(connection, _ENDED, ids)

    def glance(number: int) -> tuple[Head, Progress]:
        head = codec.head_of(found(noted[number], "")[:_W])
        progress = replay(entries_of(head, [row[_W:] for row in noted[number]], [row[1:] for row in ended[number]]))
        compare(head, progress)
        return head, progress

    return [_made(glance, each) for each in ids]


async def with_steps(names: Sequence[str], connection: AsyncConnection) -> Sequence[tuple[Head, list[StepSpec]] | None]:
    """Read heads with their saved steps, which can be made again."""
    heads = await _heads(connection, names)
    steps = await _by_key(connection, _STEPS, _ids(heads))

    def saved(head: Head) -> tuple[Head, list[StepSpec]]:
        listed = specs.specs_of(head, (row[1:] for row in steps[head.id]))
        specs.check(head.name, listed)
        return head, listed

    return [_made(saved, heads.get(each)) for each in names]


async def workflows(names: Sequence[str], connection: AsyncConnection) -> Sequence[Workflow | None]:
    """Read workflows as they stand."""
    heads = await _heads(connection, names)
    tables = (_STEPS, _NOTED, _ATTEMPTS)
    steps, noted, attempts = [await _by_key(connection, each, _ids(heads)) for each in tables]
    texts = {head.id: await printed(connection, head) for head in heads.values() if head.waits}

    def shown(head: Head) -> Workflow:
        saved = specs.specs_of(head, (row[1:] for row in steps[head.id]))
        log = until(head, [row[1:] for row in noted[head.id]], attempts[head.id])
        with codec.Understanding(head.name, "what its steps changed"):
            return views.workflow(head, saved, log, attempts[head.id], texts.get(head.id, ""))

    return [_made(shown, heads.get(each)) for each in names]


async def _heads(connection: AsyncConnection, names: Sequence[str]) -> dict[str, Head]:
    rows = await _by_key(connection, _HEADS, names, _NAME)
    made = [_made(codec.head_of, found[0]) for found in rows.values()]
    return {head.name: head for head in made if head is not None}


def _ids(heads: Mapping[str, Head]) -> list[int]:
    return [head.id for head in heads.values()]


async def _by_key(connection: AsyncConnection, asked: _Asked, keys: Sequence[Any], place: int = 0) -> Rows:
    """Return rows by the key in this place."""
    rows: defaultdict[Any, list[Any]] = defaultdict(list)
    if keys:
        # The last is repeated, so that there are statements of a few lengths only.
        count = 1 << (len(keys) - 1).bit_length()
        given = {f"key{n}": keys[min(n, len(keys) - 1)] for n in range(count)}
        for row in await fetched(connection, "", _among(*asked, count), given):
            rows[row[place]].append(row)
    return rows


@cache
def _among(query: Select[Any], column: Column[Any], count: int) -> Select[Any]:
    # With a parameter for each: one that expands is expanded anew each time.
    return query.where(column.in_([bindparam(f"key{n}", type_=column.type) for n in range(count)]))


def _made(make: Callable[[Any], T], of: Any) -> T | None:
    try:
        return None if of is None else make(of)
    except WorkflowError:
        return None
