"""The workflows of a chaos run: steps that count what they do, in the context and in the journal.

Each step adds 1 to a counter for each stage that it checkpoints and 1 when it ends, and notes both under keys of its
own. So a change that is lost, or counted twice, shows in the final context.
"""

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from awfe.domain.context import Context
from awfe.domain.retry import Retry
from awfe.domain.step import BaseStep
from awfe.testing.chaos.journal import Journal

INITIAL: dict[str, Any] = {"count": 0}


class Failure(Exception):
    """What a step raises when it is its turn to fail."""


@dataclass
class Work(BaseStep, name="awfe.testing.chaos.Work"):
    """Counts; `stages` checkpoints, naps of up to `nap` seconds, fails in `failing` of 100 attempts.

    When it is cancelled it goes on for `stubborn` seconds.
    """

    stages: int = 0
    nap: float = 0.0
    failing: int = 0
    stubborn: float = 0.0

    journal: ClassVar[Journal]

    async def work(self, ctx: Context) -> None:
        """Do the work, and write down when it begins and when it is about to end."""
        position, attempt = ctx.step.position, ctx.step.attempt
        about = {"workflow": ctx.workflow, "position": position, "attempt": attempt}
        self.journal.write("begin", **about)
        rng = Random(f"{ctx.workflow}:{position}:{attempt}")  # noqa: S311 - not a secret
        ctx[f"tried{position}"] = attempt
        await self._rest(rng)
        if rng.randrange(100) < self.failing:
            raise Failure(about)
        while (done := ctx.get(f"done{position}", 0)) < self.stages:
            ctx["count"] += 1
            ctx[f"done{position}"] = done + 1
            await ctx.checkpoint()
            await self._rest(rng)
        ctx["count"] += 1
        ctx[f"mark{position}"] = attempt
        self.journal.write("end", **about)

    async def _rest(self, rng: Random) -> None:
        try:
            await asyncio.sleep(self.nap * rng.random())
        except asyncio.CancelledError:
            await asyncio.sleep(self.stubborn)
            raise


def steps(rng: Random) -> list[BaseStep]:
    """Return the steps of a workflow."""
    return [_step(rng) for _ in range(rng.randint(2, 6))]


def _step(rng: Random) -> BaseStep:
    nap = rng.choice((0.0, 0.01, 0.03, 0.2))
    stages = rng.choice((0, 0, 1, 3))
    failing = rng.choice((0, 0, 0, 30))
    stubborn = rng.choice((0.0, 0.0, 0.0, 0.3))
    step = Work(stages, nap, failing, stubborn)
    if rng.choice((False, True)):
        step = step.using(on_interrupt="rerun")
    if failing:
        step = step.using(
            retry=Retry(attempts=rng.randint(1, 3), wait=rng.choice((0.0, 0.02, 0.1))),
            on_error=rng.choice(("pause", "skip")),
        )
    return step


def count_of(context: dict[str, Any]) -> int:
    """Return what the counter of a context should be, by the marks of the steps."""
    stages: int = sum(value for key, value in context.items() if key.startswith("done"))
    return stages + sum(key.startswith("mark") for key in context)
