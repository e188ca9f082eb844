"""What a measurement finds, and how figures are compared: within a round, so that a busy machine is busy for both."""

import gc
import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Figure:
    """One measurement; `count` things were done."""

    count: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    more: dict[str, float] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, float]:
        """Return what is told and compared: things per second, CPU time of the client for each (µs), memory (MB)."""
        own = {"per_second": self.count / self.seconds, "cpu_us": self.cpu_seconds / self.count * 1e6}
        return {**own, "peak_mb": self.peak_mb, **self.more}


@contextmanager
def measuring() -> Iterator[Figure]:
    """Time what is done inside; the peak of the memory is that of the whole process since it began."""
    figure = Figure()
    gc.collect()
    began, cpu = time.perf_counter(), time.process_time()
    yield figure
    figure.seconds = time.perf_counter() - began
    figure.cpu_seconds = time.process_time() - cpu
    figure.peak_mb = peak_mb()


def peak_mb() -> float:
    """Return the most that this process has had in memory; `ru_maxrss` would count its parent's in."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1_000


@dataclass(frozen=True)
class Ratio:
    """One measure over another, with a target for each database; `what` is compared of them."""

    name: str
    over: str
    under: str
    targets: Mapping[str, float] = field(default_factory=dict)
    what: str = "per_second"
    at_most: bool = False

    def row(self, database: str, rounds: Sequence[Mapping[str, Figure]]) -> dict[str, Any] | None:
        """Return the ratio's median and spread over the rounds; None where it was not measured."""
        found = [
            each[self.over].values[self.what] / each[self.under].values[self.what]
            for each in rounds
            if self.over in each and self.under in each
        ]
        if not found:
            return None
        median, target = statistics.median(found), self.targets.get(database)
        met = None if target is None else (median <= target if self.at_most else median >= target)
        sign = "≤" if self.at_most else "≥"
        return {
            "database": database,
            "ratio": self.name,
            "median": median,
            "least": min(found),
            "most": max(found),
            "target": "" if target is None else f"{sign} {target:g}",
            "met": met,
        }


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cores": os.cpu_count(),
        "processor": names[0].partition(": ")[2] if names else os.uname().machine,
        "load_before": round(os.getloadavg()[0], 1),
    }
