"""How far the same moves get with nothing around them: no lock, nobody who may cancel or stop; no step's code.

Or with a body for each that does nothing: code that can be cut off, which is what a step is.
"""

import asyncio
import secrets
from datetime import UTC, datetime
from functools import partial

from awfe.domain import claims, moves
from awfe.domain.claims import Claimant
from awfe.domain.delta import Delta
from awfe.domain.moves import NOBODY, Ended, Head, Move
from awfe.domain.states import StepState, WorkflowState
from awfe.execution.body import Body
from awfe.persistence.batch import put_all, put_at_once
from awfe.persistence.gathering import MOST
from awfe.persistence.session import Database
from benchmarks.figures import Figure, measuring
from benchmarks.work import create, opened


async def moved_alone(
    url: str, workflows: int, steps: int, *, together: int = MOST, with_bodies: bool = False
) -> Figure:
    """Commit the ends of all steps of workflows that are claimed, so many together; the engine takes no more."""
    async with opened(url, "shared", 1) as engine:
        names = [f"w{n}" for n in range(workflows)]
        await create(engine, names, steps)
        database, reads = engine._database, engine._crew.reads  # noqa: SLF001 - what is under the engine is measured
        heads = [await reads.head(name) for name in names]
        heads = await _committed(database, [_claim(head) for head in heads], together)
        with measuring() as figure:
            for number in range(1, steps + 1):
                for first in range(0, workflows if with_bodies else 0, together):
                    await _bodies(min(together, workflows - first))
                # What a step's change costs is part of it.
                heads = await _committed(database, [_end(head, Delta.of({"n": number})) for head in heads], together)
        for name in names:
            done = await engine.get(name)
            assert (done.state, done.context) == ("completed", {"n": steps})  # noqa: S101 - what is not done is not measured
    figure.count = workflows * steps
    return figure


async def _bodies(count: int) -> None:
    async def nothing() -> None:
        pass

    bodies = [Body(nothing(), "awfe benchmark", _ignored, _over) for _ in range(count)]
    await asyncio.gather(*(body.task for body in bodies))


def _ignored(_seconds: float) -> None:
    pass


def _over() -> None:
    pass


def _claim(head: Head) -> Move:
    return claims.claimed(head, 1, Claimant(secrets.token_hex(16), "benchmark", datetime.now(UTC), NOBODY, 1.0))


def _end(head: Head, delta: Delta) -> Move:
    now = datetime.now(UTC)
    ended = Ended(head.at, head.attempt, StepState.COMPLETED, head.attempt_started_at or now, now, delta)
    return moves.step_passed(head, ended, WorkflowState.RUNNING, 1, resumable=False)


async def _committed(database: Database, made: list[Move], together: int) -> list[Head]:
    for first in range(0, len(made), together):
        if together == 1:
            done = await database.request(partial(put_at_once, move=made[first], uid=secrets.token_hex(16)), 0)
        else:
            submitted = [(move, secrets.token_hex(16)) for move in made[first : first + together]]
            done = await database.write(partial(put_all, moves=submitted), unseen=True)
        assert done  # noqa: S101 - nobody else moves them
    return [move.after for move in made]
