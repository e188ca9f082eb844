"""How fast workflows run, as ratios to what the raw driver commits in the same run.

    python -m benchmarks [--rounds 3] [--databases sqlite,mysql,postgresql] [--many 1000] [--json FILE]

Starts private servers with their default durability where the environment names none (`AWFE_TEST_MYSQL_URL`,
`AWFE_TEST_POSTGRESQL_URL`). The rounds of all measures are taken in turn, so that a machine that is busy for a while is
busy for all of them; the median counts, and the least and the most are told. Workflows are created before the clock
runs; their start, locks, checkpoints and the reading of their results are measured.
"""

import argparse
import asyncio
import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from awfe import Context, Engine, step
from benchmarks.limits import commits_per_second
from benchmarks.places import DATABASES, emptied
from tests.servers import Servers

_LIMIT = "raw driver, one client"


@step(name="benchmarks.count")
async def count(ctx: Context) -> None:
    """Change a small key."""
    ctx["n"] = ctx.get("n", 0) + 1


@dataclass(frozen=True)
class Measure:
    """So many workflows at once, of so many steps."""

    name: str
    workflows: int
    steps: int
    locks: str

    async def steps_per_second(self, url: str) -> tuple[float, float]:
        """Return how many steps were done per second, and the CPU time of this process for each, in µs."""
        settings: dict[str, Any] = {"locks": self.locks, "max_running": self.workflows, "lock_limit": 120.0}
        async with Engine(url, poll_interval=3_600.0, **settings) as engine:
            names = [f"w{n}" for n in range(self.workflows)]
            for name in ("warm", *names):
                await engine.create_workflow(name, {}, [count() for _ in range(self.steps)])
            await engine.run("warm")
            began, cpu = time.perf_counter(), time.process_time()
            handles = [await engine.start(name) for name in names]
            for handle in handles:
                assert (await handle).context == {"n": self.steps}  # noqa: S101 - what is not done is not measured
            done = self.workflows * self.steps
            return done / (time.perf_counter() - began), (time.process_time() - cpu) / done * 1e6


def measures(many: int) -> list[Measure]:
    """Return what is measured on each database."""
    return [
        Measure("one at a time, 100 steps", 1, 100, "dedicated"),
        Measure("one at a time, 10 steps", 1, 10, "dedicated"),
        Measure("100 at once, 10 steps", 100, 10, "shared"),
        Measure(f"{many} at once, 10 steps", many, 10, "shared"),
    ]


async def compare(databases: list[str], rounds: int, many: int, seconds: float) -> list[dict[str, Any]]:
    """Measure everything so many times, in turn."""
    rates: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as directory:
        for number in range(rounds):
            for database in databases:
                url = await emptied(database, Path(directory), "awfe_benchmarks")
                rates[database, _LIMIT].append((await commits_per_second(url, seconds), 0.0))
                for measure in measures(many):
                    url = await emptied(database, Path(directory), "awfe_benchmarks")
                    rates[database, measure.name].append(await measure.steps_per_second(url))
                print(f"round {number + 1} of {rounds}: {database}", file=sys.stderr, flush=True)
    return [_row(database, name, found, rates[database, _LIMIT]) for (database, name), found in rates.items()]


def _row(
    database: str, name: str, found: list[tuple[float, float]], limit: list[tuple[float, float]]
) -> dict[str, Any]:
    per_second = [rate for rate, _ in found]
    return {
        "database": database,
        "measure": name,
        "per_second": round(statistics.median(per_second), 1),
        "least": round(min(per_second), 1),
        "most": round(max(per_second), 1),
        "ratio": round(statistics.median(rate / raw for rate, (raw, _) in zip(per_second, limit, strict=True)), 3),
        "cpu_us": round(statistics.median(cpu for _, cpu in found), 1),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the figures as a table in Markdown."""
    lines = [
        "| database | measure | per second, median (least to most) | ÷ raw commits | CPU of the client, µs |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        spread = "{per_second:,.0f} ({least:,.0f} to {most:,.0f})".format_map(row)
        lines.append(f"| {row['database']} | {row['measure']} | {spread} | {row['ratio']:.2f} | {row['cpu_us']:,.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--databases", default=",".join(DATABASES))
    parser.add_argument("--many", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long the raw driver commits")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    databases = options.databases.split(",")
    servers = Servers()
    load = os.getloadavg()[0]
    try:
        servers.start([name for name in databases if name != "sqlite"])
        rows = asyncio.run(compare(databases, options.rounds, options.many, options.seconds))
    finally:
        servers.stop()
    print(table(rows))
    about = {
        "python": platform.python_version(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "load_before": round(load, 1),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000),
    }
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    if options.json:
        options.json.write_text(json.dumps({"about": about, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
