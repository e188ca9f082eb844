"""What workflows that wait cost the engine in which somebody awaits them: memory, connections, tasks and statements.

    python -m benchmarks.waiting [--workflows 10000] [--url URL] [--trace] [--top N] [--json FILE]

Without `--url`, of a database that is empty, it takes a new SQLite file. `at_once` is what the whole process has in
memory. `resident` is that again after idle connections are closed and free memory is given back to the system: SQLite
keeps up to 2 MB of pages for each connection of the pool, however many workflows wait, and the allocator keeps what was
needed while they began to. With `--trace` it is `python` instead, what tracemalloc counts, handles included; that costs
memory of its own. Ends with the status 1 where `resident` or `python` costs more than the limit, or where anything is
held. `--top`, which traces too, shows which lines allocated what is kept.
"""

import argparse
import asyncio
import ctypes
import gc
import json
import os
import sys
import tempfile
import time
import tracemalloc
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import event

from awfe import Context, Engine, Handle, WaitFor, step

LIMIT_MB = 10.0
LOOK_QUERIES = 2
MAX_RUNNING = 100
# So many are run before the first look at the memory: caches of statements, pages and classes are no workflow's.
WARM = 200
MB = 1e6


@step(name="benchmarks.await_go")
async def await_go(_ctx: Context) -> WaitFor:
    """Wait for a signal."""
    return WaitFor("go")


@dataclass(frozen=True)
class Held:
    """What this process and its engine hold; of memory what was asked for."""

    memory: dict[str, int]
    connections: int
    tasks: int

    @classmethod
    async def now(cls, engine: Engine) -> "Held":
        """Look, after all garbage is gone."""
        data = engine._database.engine  # noqa: SLF001 - awfe does not tell
        checked_out: Any = data.pool
        connections = checked_out.checkedout()
        gc.collect()
        if tracemalloc.is_tracing():
            memory = {"python": tracemalloc.get_traced_memory()[0]}
        else:
            memory = {"at_once": _resident()}
            await data.dispose()
            gc.collect()
            if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
                trim(0)
            memory["resident"] = _resident()
        return cls(memory, connections, len(asyncio.all_tasks()))


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def let_wait(engine: Engine, prefix: str, count: int) -> list[Handle]:
    """Start workflows that were created, and return their handles when all of them wait."""
    handles = [await engine.start(f"{prefix}-{n}") for n in range(count)]
    control = engine._steering.control  # noqa: SLF001 - a workflow waits in the database before its run is over
    while control:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.05)
    return handles


async def statements_of_a_look(engine: Engine) -> list[str]:
    """Return what one look of the lookout asks the database."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            seen.append(statement)

    sync_engine = engine._database.engine.sync_engine  # noqa: SLF001 - awfe does not tell
    lookout = engine._steering.lookout  # noqa: SLF001 - nobody else needs to look by hand
    event.listen(sync_engine, "before_cursor_execute", note)
    await lookout._look()  # noqa: SLF001 - nobody else needs to look by hand
    event.remove(sync_engine, "before_cursor_execute", note)
    return seen


async def measure(url: str, workflows: int, top: int) -> dict[str, Any]:
    """Let workflows wait, look at what that costs, and wake one of them."""
    # The poll must not look at the same time as we do; the bell still rings for the signal.
    async with Engine(url, locks="shared", max_running=MAX_RUNNING, poll_interval=3_600.0) as engine:
        for prefix, count in (("warm", WARM), ("w", workflows)):
            for n in range(count):
                await engine.create_workflow(f"{prefix}-{n}", {}, [await_go()])
        warm = await let_wait(engine, "warm", WARM)
        before = await Held.now(engine)
        snapshot = tracemalloc.take_snapshot() if top else None
        began = time.monotonic()
        handles = await let_wait(engine, "w", workflows)
        took = time.monotonic() - began
        after = await Held.now(engine)
        if snapshot is not None:
            for line in tracemalloc.take_snapshot().compare_to(snapshot, "lineno")[:top]:
                print(line)
        asked = await statements_of_a_look(engine)
        began = time.monotonic()
        await engine.signal(f"w-{workflows // 2}", "go", {"n": 1})
        async with asyncio.timeout(60):
            woken = await handles[workflows // 2]
        took_signal = time.monotonic() - began
        return {
            "workflows": workflows,
            "before": asdict(before),
            "after": asdict(after),
            "queries_of_a_look": len(asked),
            "signal_taken": woken.state == "completed" and woken.context == {"go": {"n": 1}},
            "signal_ms": round(took_signal * 1e3, 1),
            "still_wait": sum(not handle.done() for handle in (*handles, *warm)) - WARM,
            "started_s": round(took, 1),
        }


def report(row: dict[str, Any]) -> bool:
    """Print the table; returns whether everything is as promised."""
    before, after, workflows = row["before"], row["after"], row["workflows"]
    print(f"{workflows} workflows wait, and {WARM} before them; started within {row['started_s']} s")
    print(f"{'':18} {'before':>10} {'after':>10} {'cost':>10} {'of each':>10}")
    costs = {}
    for name, memory in after["memory"].items():
        costs[name] = cost = memory - before["memory"][name]
        print(f"{name + ', MB':18} {before['memory'][name] / MB:10.2f} {memory / MB:10.2f} {cost / MB:10.2f}", end="")
        print(f" {cost / workflows:8.0f} B")
    for name in ("connections", "tasks"):
        print(f"{name:18} {before[name]:10} {after[name]:10} {after[name] - before[name]:10}")
    print(f"queries of a look: {row['queries_of_a_look']}; others still wait: {row['still_wait']}")
    print(f"a signal was taken: {row['signal_taken']}, within {row['signal_ms']} ms")
    return (
        all(cost / MB < LIMIT_MB for name, cost in costs.items() if name != "at_once")
        and after["connections"] == 0
        and after["tasks"] == before["tasks"]
        and row["queries_of_a_look"] == LOOK_QUERIES
        and row["signal_taken"]
        and row["still_wait"] == workflows - 1
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workflows", type=int, default=10_000)
    parser.add_argument("--url")
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--top", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.trace or options.top:
        tracemalloc.start()
    with tempfile.TemporaryDirectory() as directory:
        url = options.url or f"sqlite:///{directory}/waiting.db"
        row = asyncio.run(measure(url, options.workflows, options.top))
    as_promised = report(row)
    if options.json:
        options.json.write_text(json.dumps(row, indent=1))
    sys.exit(not as_promised)


if __name__ == "__main__":
    main()
