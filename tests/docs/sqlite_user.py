"""One user of a file of SQLite: `python -m tests.docs.sqlite_user URL UID GID UMASK VERB` holds or stops a workflow.

Prints "held" when its step has begun, then the error that it ends with.
"""

import asyncio
import os
import sys

import aiosqlite  # noqa: F401 - so that nothing is imported when the user has changed
import sqlalchemy.dialects.sqlite.aiosqlite  # noqa: F401 - the same

from awfe import AwfeError, Engine
from tests.docs.server_pages import NEVER, hold


async def main(url: str, verb: str) -> None:
    """Do the verb, with a poll that never comes: only a bell tells of a stop."""
    async with Engine(url, connect_retry_for=0, poll_interval=NEVER) as engine:
        if verb == "hold":
            handle = await hold(engine, "w")
            print("held", flush=True)
            async with asyncio.timeout(30):
                await handle
        else:
            await engine.stop("w")


if __name__ == "__main__":
    url, user, group, mask, verb = sys.argv[1:]
    os.setgroups([])
    os.setgid(int(group))
    os.setuid(int(user))
    os.umask(int(mask, 8))
    try:
        asyncio.run(main(url, verb))
    except AwfeError as error:
        print(error, flush=True)
