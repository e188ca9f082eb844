"""A pause that has returned is never followed by the beginning of another step."""

import asyncio
import random
from contextlib import suppress

import pytest

from awfe import Context, InvalidState, Workflow, WorkflowHalted, step
from tests.conformance.conftest import OpenEngine

ROUNDS = 200
STEPS = 6


class Watch:
    """How many steps have begun, and how long they take."""

    begun: int
    pace: random.Random


@step
async def tick(_ctx: Context) -> None:
    """Take a moment, of random length."""
    Watch.begun += 1
    for _ in range(Watch.pace.randrange(4)):
        await asyncio.sleep(0)


@pytest.mark.timeout(300)
async def test_a_pause_that_has_returned(open_engine: OpenEngine, seed: int) -> None:
    pace = Watch.pace = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    runner, other = await open_engine(), await open_engine()
    paused = 0
    for number in range(ROUNDS):
        Watch.begun = 0
        name = f"w{number}"
        await runner.create_workflow(name, {}, [tick] * STEPS)
        task = asyncio.create_task(runner.run(name))
        begun, moments = pace.randrange(STEPS), pace.randrange(12)
        while Watch.begun < begun or (moments := moments - 1) >= 0:
            await asyncio.sleep(0)
        asker = pace.choice((runner, other))
        last = STEPS
        with suppress(InvalidState):
            await asker.pause(name)
            seen = await asker.get(name)
            # The step that was running when the pause returned is the last one; at rest, none begins any more.
            last = seen.position if seen.state == "running" and seen.position else _done(seen)
        with suppress(WorkflowHalted):
            await task
        workflow = await runner.get(name)
        assert Watch.begun <= last, f"round {number}: a step began after the pause had returned"
        assert _done(workflow) == Watch.begun, "whatever began was completed, and nothing twice"
        assert workflow.state in {"paused", "completed", "pending"}
        paused += workflow.state == "paused"
    print(f"{paused} of {ROUNDS} were paused")
    assert paused > ROUNDS // 20, "the pauses met running workflows"


def _done(workflow: Workflow) -> int:
    return sum(each.state == "completed" for each in workflow.steps)
