"""Workflows that are about to be claimed: read together, and without a lock, so only good for a move that is fenced."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import BindParameter, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from awfe.domain.log import Progress, replay
from awfe.domain.moves import Head
from awfe.persistence import codec
from awfe.persistence.gathering import Gathering
from awfe.persistence.reads import ENDED, HEAD, LINE, compare, entries_of, fetched, found
from awfe.persistence.schema import attempt, event, workflow
from awfe.persistence.session import Database

# The rows of a head with its events, and those of its attempts.
_Rows = tuple[list[Any], list[Any]]
_ids: Final[BindParameter[Any]] = bindparam("ids", expanding=True)
_NOTED: Final = (
    select(workflow, *LINE).outerjoin(event, event.c.workflow_id == workflow.c.id).where(workflow.c.id.in_(_ids))
)
_ENDED: Final = select(attempt.c.workflow_id, *ENDED).where(attempt.c.workflow_id.in_(_ids))


class Candidates:
    """Reads what a claim is decided on; what is claimed at the same time is read at once."""

    def __init__(self, database: Database) -> None:
        """Look into this database."""
        self._database = database
        self._logs: Gathering[int, _Rows] = Gathering(self._rows)

    async def with_log(self, name: str, workflow_id: int) -> tuple[Head, Progress]:
        """Return a head and what its log added up to; raises `WorkflowNotFound` and `WorkflowCorrupt`.

        A move of somebody else in this very moment may be seen in the log alone, and look like corruption.
        """
        noted, ended = await self._logs.get(workflow_id) or ([], [])
        head = codec.head_of(found(noted, name)[:HEAD])
        progress = replay(entries_of(head, [row[HEAD:] for row in noted], ended))
        compare(head, progress)
        return head, progress

    async def _rows(self, ids: Sequence[int], retry_for: float | None) -> Mapping[int, _Rows]:
        return await self._database.read(partial(_rows, ids), retry_for)


async def _rows(ids: Sequence[int], session: AsyncSession) -> Mapping[int, _Rows]:
    key = {"ids": _padded(ids)}
    rows: defaultdict[int, _Rows] = defaultdict(lambda: ([], []))
    for row in await fetched(session, "", _NOTED, key):
        rows[row[0]][0].append(row)
    for row in await fetched(session, "", _ENDED, key):
        rows[row[0]][1].append(row[1:])
    return rows


def _padded(keys: Sequence[int]) -> list[int]:
    """Repeat the last key, so that there are statements of a few lengths only."""
    length = 1 << (len(keys) - 1).bit_length()
    return [*keys, *([keys[-1]] * (length - len(keys)))]
