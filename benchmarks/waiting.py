"""What workflows that wait cost one engine: memory, connections, tasks, and queries for each look.

python -m benchmarks.waiting --workflows 10000
"""

import argparse
import asyncio
import gc
import tempfile
import tracemalloc
from pathlib import Path

from awfe import BaseStep, Context, Engine, Handle, WaitFor
from awfe.testing import Calls

AT_ONCE = 100


class Wait(BaseStep, name="benchmarks.Wait"):
    """Waits for a signal."""

    async def work(self, ctx: Context) -> WaitFor:  # noqa: ARG002 - every step gets it
        """Wait."""
        return WaitFor("go")


async def begin(engine: Engine, numbers: range) -> list[Handle]:
    """Let workflows begin, and return when they wait."""
    handles = []
    for number in numbers:
        await engine.create_workflow(f"w{number}", {}, [Wait])
        handles.append(await engine.start(f"w{number}"))
    while engine._steering.control:  # noqa: ASYNC110, SLF001 - nobody tells when all wait
        await asyncio.sleep(0.005)
    return handles


async def measure(url: str, workflows: int) -> None:
    """Measure it, and print it."""
    engine = Engine(url, locks="shared", max_running=AT_ONCE, poll_interval=3600)
    calls = Calls(engine)
    async with engine:
        handles = await begin(engine, range(AT_ONCE))
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for first in range(AT_ONCE, AT_ONCE + workflows, AT_ONCE):
            handles += await begin(engine, range(first, first + AT_ONCE))
            calls.clear()
        gc.collect()
        cost = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        tasks = len(asyncio.all_tasks())
        await asyncio.sleep(0.5)
        calls.clear()
        engine._steering.lookout._ring()  # noqa: SLF001 - one look, and no more
        await asyncio.sleep(1)
        looks = sum(call.statement.startswith("SELECT") for call in calls.log)
        out = engine._database.engine.pool.checkedout()  # type: ignore[attr-defined]  # noqa: SLF001 - a queue pool
        await engine.signal("w0", "go", "taken")
        print("a signal:", (await handles[0]).context["go"])
        print(f"{workflows} workflows wait: {cost / 1e6:.1f} MB more, {cost / workflows:.0f} bytes each")
        print(print(f"connections checked out: {out}, tasks of the process: {tasks}, queries of a look: {looks}"))


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workflows", type=int, default=10_000)
    parser.add_argument("--url", help="a database (default: a temporary SQLite file)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(measure(given.url or f"sqlite:///{Path(directory)}/waiting.db", given.workflows))


if __name__ == "__main__":
    main()
