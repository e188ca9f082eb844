"""What is measured, in which groups, and what is compared with what; the targets are those of a 2-core machine."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from benchmarks import bare, first, limits, peers, work
from benchmarks.figures import Figure, Ratio

SERVERS = ("mysql", "postgresql")
ALL = ("sqlite", *SERVERS)


@dataclass(frozen=True)
class Measure:
    """A function of an empty database, and with what it is called."""

    name: str
    do: Callable[..., Coroutine[Any, Any, Figure]]
    arguments: dict[str, Any] = field(default_factory=dict)
    databases: tuple[str, ...] = ALL
    # Taken once, not in each round: so long does it take.
    once: bool = False


RAW = "raw, 1 client"
_RAW_16 = "raw, 16 clients"
_LONE = "one at a time, 100 steps"
_LONE_10 = "one at a time, 10 steps"
_HUNDRED = "100 at once, 10 steps, dedicated"
_THOUSAND = "1,000 at once, 10 steps, shared"
_UNCOLLECTED = "1,000 at once, few collections"
_BARE = "1,000 at once, their moves alone"
_BODIES = "1,000 at once, their moves and empty bodies alone"
_LONE_BARE = "one at a time, its moves alone"
_BESIDE = "one step beside 999 that are busy"
_STEPS = {n: f"{n:,} steps per workflow" for n in (10, 100, 1_000, 10_000)}
_CONTEXTS = {1_000: "context of 1 KB", 100_000: "context of 100 KB", 1_000_000: "context of 1 MB"}
_FINISHED = {n: f"beside {n:,} finished" for n in (0, 1_000, 100_000, 1_000_000)}
# So many finished workflows are made quickly.
_QUICK = 100_000
_EMPTY, _EXISTING = "start on an empty database", "start on an existing one"
_DBOS, _DBOS_MANY, _DBOS_START = "DBOS, one at a time", "DBOS, 1,000 at once", "DBOS, start on an existing database"

_SPEED = [
    Measure(RAW, limits.commits, {"clients": 1}),
    Measure(_RAW_16, limits.commits, {"clients": 16}, SERVERS),
    Measure("raw, 64 clients", limits.commits, {"clients": 64}, SERVERS),
    Measure("raw, 256 rows in a transaction", limits.commits, {"clients": 1, "rows": 256}),
    Measure(_LONE, work.one_at_a_time, {"workflows": 10, "steps": 100}),
    Measure(_LONE_10, work.one_at_a_time, {"workflows": 100, "steps": 10}),
    Measure(_HUNDRED, work.at_once, {"workflows": 100, "steps": 10, "locks": "dedicated"}),
    Measure(_THOUSAND, work.at_once, {"workflows": 1_000, "steps": 10, "locks": "shared"}),
    Measure(_UNCOLLECTED, work.at_once, {"workflows": 1_000, "steps": 10, "locks": "shared", "threshold": 100_000}),
]
_FLOOR = [
    _SPEED[0],
    _SPEED[1],
    Measure(_BARE, bare.moved_alone, {"workflows": 1_000, "steps": 10}),
    Measure(_BODIES, bare.moved_alone, {"workflows": 1_000, "steps": 10, "with_bodies": True}),
    Measure(_LONE_BARE, bare.moved_alone, {"workflows": 10, "steps": 100, "together": 1}),
]
_GROWTH = [
    Measure(_STEPS[10], work.one_at_a_time, {"workflows": 100, "steps": 10}),
    Measure(_STEPS[100], work.one_at_a_time, {"workflows": 10, "steps": 100}),
    Measure(_STEPS[1_000], work.one_at_a_time, {"workflows": 2, "steps": 1_000}),
    Measure(_STEPS[10_000], work.one_at_a_time, {"workflows": 1, "steps": 10_000}),
    *(
        Measure(name, work.one_at_a_time, {"workflows": 5, "steps": 100, "context_bytes": size})
        for size, name in _CONTEXTS.items()
    ),
]
_TABLES = [
    Measure(name, work.at_once, {"workflows": 100, "steps": 20, "locks": "shared", "finished": n}, once=n > _QUICK)
    for n, name in _FINISHED.items()
]
_LATENCY = [Measure(_BESIDE, work.lone, {"busy": 999, "steps": 60}, once=True)]
_START = [Measure(_EMPTY, first.started, {"existing": False}), Measure(_EXISTING, first.started, {"existing": True})]


def groups(dbos: str | None) -> dict[str, list[Measure]]:
    """Return the measures by group; those of DBOS where a Python is given that has it."""
    python = {"python": dbos}
    postgresql = ("postgresql",)
    them = [
        Measure(_DBOS, peers.dbos, {**python, "workflows": 100, "steps": 10, "in_flight": 1}, postgresql),
        Measure(_DBOS_MANY, peers.dbos, {**python, "workflows": 1_000, "steps": 10, "in_flight": 400}, postgresql),
        Measure(_DBOS_START, peers.dbos_started, python, ("sqlite", "postgresql")),
    ]
    return {
        "speed": _SPEED,
        "floor": _FLOOR,
        "growth": _GROWTH,
        "tables": _TABLES,
        "latency": _LATENCY,
        "start": _START,
        "dbos": them if dbos else [],
    }


RATIOS = [
    Ratio("one at a time, 100 steps ÷ raw commits", _LONE, RAW, {"mysql": 0.55, "postgresql": 0.5, "sqlite": 0.25}),
    Ratio("one at a time, 10 steps ÷ raw commits", _LONE_10, RAW),
    Ratio("100 at once ÷ raw commits", _HUNDRED, RAW, {"mysql": 4}),
    Ratio("1,000 at once ÷ raw commits", _THOUSAND, RAW, {"mysql": 6, "postgresql": 7, "sqlite": 4}),
    Ratio("1,000 at once, few collections ÷ raw commits", _UNCOLLECTED, RAW),
    Ratio("1,000 at once, moves alone ÷ raw commits", _BARE, RAW),
    Ratio("1,000 at once, moves and empty bodies ÷ raw commits", _BODIES, RAW),
    Ratio("one at a time, moves alone ÷ raw commits", _LONE_BARE, RAW),
    Ratio("CPU of a move and an empty body ÷ of a raw commit", _BODIES, _RAW_16, {}, "cpu_us", at_most=True),
    Ratio("1,000 at once ÷ DBOS", _THOUSAND, _DBOS_MANY, {"postgresql": 60}),
    Ratio("one at a time ÷ DBOS", _LONE_10, _DBOS, {"postgresql": 6}),
    Ratio("start ÷ DBOS, in time", _EXISTING, _DBOS_START, {"sqlite": 0.9}, "start_ms", at_most=True),
    Ratio("CPU of a step ÷ of a raw commit", _THOUSAND, _RAW_16, dict.fromkeys(SERVERS, 0.8), "cpu_us", at_most=True),
    Ratio("cost of a step, 10,000 ÷ 10 steps", _STEPS[10], _STEPS[10_000], dict.fromkeys(ALL, 1.2), at_most=True),
    Ratio("cost of a step, 1 MB ÷ 1 KB", _CONTEXTS[1_000], _CONTEXTS[1_000_000], dict.fromkeys(ALL, 1.5), at_most=True),
    Ratio("speed beside 1,000,000 finished ÷ none", _FINISHED[1_000_000], _FINISHED[0], dict.fromkeys(ALL, 0.9)),
    Ratio("speed beside 100,000 finished ÷ none", _FINISHED[100_000], _FINISHED[0]),
]
