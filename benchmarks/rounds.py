"""Rounds of measurements: each in a process of its own, which has nothing of the one before in its memory."""

import asyncio
import multiprocessing
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.places import emptied
from benchmarks.plan import Measure

# Of each database, of each round, what was found by the measure's name.
Rounds = dict[str, list[dict[str, Figure]]]


def measured(measure: Measure, database: str, directory: Path) -> Figure:
    """Take one measurement; for a process of its own."""

    async def take() -> Figure:
        return await measure.do(await emptied(database, directory, "awfe_benchmarks"), **measure.arguments)

    return asyncio.run(take())


def compare(measures: Sequence[Measure], databases: Sequence[str], rounds: int) -> Rounds:
    """Measure everything so many times, in turn."""
    found: Rounds = {database: [{} for _ in range(rounds)] for database in databases}
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as directory,
        ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool,
    ):
        for number in range(rounds):
            for database in databases:
                for measure in measures:
                    if database not in measure.databases or (measure.once and number):
                        continue
                    figure = pool.submit(measured, measure, database, Path(directory)).result()
                    found[database][number][measure.name] = figure
                    print(f"{number + 1}/{rounds} {database}: {measure.name}: {figure}", file=sys.stderr, flush=True)
    return found
