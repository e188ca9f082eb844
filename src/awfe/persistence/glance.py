"""All that a plan needs to know of a workflow, read at once and without a lock."""

from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from awfe.domain.foresight import Seen
from awfe.persistence.lookup import compare, told, unsaved, with_steps
from awfe.persistence.reads import shown
from awfe.persistence.session import Database


async def glance(database: Database, name: str) -> Seen:
    """Return a workflow as it stands; raises `WorkflowNotFound`, or `WorkflowCorrupt` also for what can't be shown."""

    async def work(connection: AsyncConnection) -> Seen:
        head, saved = await with_steps(connection, name)
        log, attempts = await told(connection, head)
        await shown(connection, head, saved, log, attempts)
        seen = Seen(head, saved, log)
        compare(head, seen.progress)
        return replace(seen, unsaved=await unsaved(connection, head, seen.progress))

    return await database.read(work)
