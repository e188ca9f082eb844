"""DBOS on the same work, in a Python of its own: `PYTHON benchmarks/dbos_peer.py URL WORKFLOWS STEPS IN_FLIGHT`.

It prints a line of JSON: how many steps were done within how many seconds. With 0 workflows it runs one of one step and
ends, as a process that is just started. Imports nothing of awfe, which that Python need not have.
"""

import asyncio
import json
import sys
import time

from dbos import DBOS, DBOSConfig


@DBOS.step()  # type: ignore[untyped-decorator]  # it need not be installed
async def count(n: int) -> int:
    """Do no work."""
    return n + 1


@DBOS.workflow()  # type: ignore[untyped-decorator]  # it need not be installed
async def counts(steps: int) -> int:
    """Run so many steps."""
    n = 0
    for _ in range(steps):
        n = await count(n)
    return n


async def main(workflows: int, steps: int, in_flight: int) -> None:
    """Run the workflows, so many of them at a time."""
    if not workflows:
        await counts(1)
        return
    for _ in range(5):
        await counts(steps)
    turn = asyncio.Semaphore(in_flight)

    async def one() -> None:
        async with turn:
            await counts(steps)

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one() for _ in range(workflows)))
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"count": workflows * steps, "seconds": took, "cpu_seconds": cpu}))


if __name__ == "__main__":
    DBOS(config=DBOSConfig(name="peer", system_database_url=sys.argv[1], log_level="ERROR", sys_db_pool_size=20))
    DBOS.launch()
    asyncio.run(main(*map(int, sys.argv[2:])))
    DBOS.destroy()
