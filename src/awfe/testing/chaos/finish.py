"""The end of a chaos run: a fresh engine and an operator bring every workflow to its end."""

import asyncio
import time
from random import Random
from typing import Final

from awfe.domain.records import WorkflowSummary
from awfe.domain.states import WorkflowState
from awfe.engine import Engine
from awfe.testing.chaos.operators import Operators

# Without any progress for so long, what is left is stuck.
_PATIENCE: Final = 60.0
_PAGE: Final = 200
_AT_ONCE: Final = 10
_AGAIN: Final = 0.2
_VERBS: Final = {"error": "restart", "stopped": "restart", "paused": "run", "pending": "run"}


async def finish(engine: Engine, operators: Operators, prefix: str, rng: Random) -> list[str]:
    """Recover, restart and run until all are completed; returns a sentence for each that can't be."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def bring(summary: WorkflowSummary) -> None:
        async with places:
            if summary.state in _VERBS:
                await operators.do(_VERBS[summary.state], summary.name, rng)
            else:
                await engine.wait(summary.name, timeout=_PATIENCE)

    unfinished: list[WorkflowSummary] = []
    most, since = -1, time.monotonic()
    while time.monotonic() - since < _PATIENCE:
        await engine.recover()
        unfinished = await _unfinished(engine, prefix)
        if not unfinished:
            return []
        await asyncio.gather(*map(bring, unfinished), return_exceptions=True)
        completed = (await engine.stats())[WorkflowState.COMPLETED]
        if completed > most:
            most, since = completed, time.monotonic()
        await asyncio.sleep(_AGAIN)
    return [f"{summary.name!r} could not be brought to its end: it is {summary.state}" for summary in unfinished]


async def _unfinished(engine: Engine, prefix: str) -> list[WorkflowSummary]:
    found = []
    for state in WorkflowState:
        if state is not WorkflowState.COMPLETED:
            found += await engine.list(state, prefix, _PAGE)
    return found
