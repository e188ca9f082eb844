"""How long a stop from another process takes to reach a step: by the bell, and by the poll alone.

    python -m benchmarks.stop_latency [--rounds 50] [--databases sqlite,mysql,postgresql] [--json FILE]

Starts private servers where the environment names none (`AWFE_TEST_MYSQL_URL`, `AWFE_TEST_POSTGRESQL_URL`). A runner in
a process of its own tells, by the system's monotonic clock, when its step was cancelled.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from awfe import Context, Engine, WorkflowStopped, step
from benchmarks.places import DATABASES, emptied
from tests.servers import Servers

POLL_INTERVAL = 1.0


@step(name="benchmarks.hold")
async def hold(_ctx: Context) -> None:
    """Wait for a stop, and tell when it came."""
    print("begun", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        print(time.monotonic(), flush=True)


async def runner(url: str, rounds: int, *, bell: bool) -> None:
    """Run one workflow after the other, each until it is stopped."""
    async with Engine(url, poll_interval=POLL_INTERVAL) as engine:
        if not bell:
            await engine._crew.bell.close()  # noqa: SLF001 - what the poll does alone can't be seen otherwise
        for n in range(rounds):
            try:
                await engine.run(f"{bell}-{n}")
            except WorkflowStopped:
                print("stopped", flush=True)


async def measure(url: str, rounds: int, *, bell: bool) -> list[float]:
    """Return how long each stop took, in milliseconds."""
    took = []
    async with Engine(url) as engine:
        for n in range(rounds):
            await engine.create_workflow(f"{bell}-{n}", {}, [hold()])
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "benchmarks.stop_latency", "--runner", url, "--rounds", str(rounds)),
            *(() if bell else ("--no-bell",)),
            stdout=asyncio.subprocess.PIPE,
        )
        lines: Any = process.stdout
        for n in range(rounds):
            await lines.readline()  # begun
            # Not in step with the poll.
            await asyncio.sleep(POLL_INTERVAL * (n % 10) / 10 if not bell else 0.02)
            asked = time.monotonic()
            await engine.stop(f"{bell}-{n}")
            took.append((float(await lines.readline()) - asked) * 1e3)
            await lines.readline()  # stopped
        await process.wait()
    return took


async def compare(names: list[str], rounds: int) -> list[dict[str, Any]]:
    """Measure each database with the bell and without."""
    rows = []
    print(f"{'database':12} {'by':5} {'rounds':>6} {'median ms':>10} {'worst ms':>10}")
    with tempfile.TemporaryDirectory() as directory:
        for name in names:
            url = await emptied(name, Path(directory), "awfe_stop_latency")
            for bell in (True, False):
                took = await measure(url, rounds if bell else min(rounds, 20), bell=bell)
                row: dict[str, Any] = {"database": name, "by": "bell" if bell else "poll", "rounds": len(took)}
                row |= {"median_ms": round(statistics.median(took), 2), "worst_ms": round(max(took), 2)}
                rows.append(row)
                print("{database:12} {by:5} {rounds:6} {median_ms:10.2f} {worst_ms:10.2f}".format_map(row), flush=True)
    return rows


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--databases", default=",".join(DATABASES))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--runner", help=argparse.SUPPRESS)
    parser.add_argument("--no-bell", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.runner:
        asyncio.run(runner(options.runner, options.rounds, bell=not options.no_bell))
        return
    servers = Servers()
    try:
        names = options.databases.split(",")
        servers.start([name for name in names if name != "sqlite"])
        rows = asyncio.run(compare(names, options.rounds))
    finally:
        servers.stop()
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
