"""All that a plan needs to know of a workflow, read at once and without a lock."""

from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncSession

from awfe.domain.foresight import Seen
from awfe.persistence.lookup import compare, log_of, unsaved, with_steps
from awfe.persistence.session import Database


async def glance(database: Database, name: str) -> Seen:
    """Return a workflow as it stands; raises `WorkflowNotFound` or `WorkflowCorrupt`."""

    async def work(session: AsyncSession) -> Seen:
        head, saved = await with_steps(session, name)
        # Another transaction may have moved it since: what is younger than the head is not looked at.
        log = [entry for entry in await log_of(session, head) if entry.rev <= head.rev]
        seen = Seen(head, saved, log)
        compare(head, seen.progress)
        return replace(seen, unsaved=await unsaved(session, head, seen.progress))

    return await database.read(work)
