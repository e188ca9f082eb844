"""Signals: before, during and after the wait, many at once, and from another process; each is taken once."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from awfe import Context, Engine, InvalidState, WaitFor, WorkflowPaused
from tests.conformance.conftest import OpenEngine
from tests.conformance.helpers import each_kind_of_lock, waits
from tests.conformance.steps import Hold, World
from tests.conformance.waiting_steps import Await
from tests.databases import Database

SEND = """
import asyncio, json, sys
from awfe import Engine

async def main(url, name, topic, payloads):
    async with Engine(url) as engine:
        await asyncio.gather(*[engine.signal(name, topic, each, actor="elsewhere") for each in json.loads(payloads)])

asyncio.run(main(*sys.argv[1:]))
"""


@dataclass
class HoldThenWait(Hold, name="tests.HoldThenWait"):
    """Waits until the test opens its gate, then for a signal."""

    async def work(self, ctx: Context) -> WaitFor:  # type: ignore[override]  # it does not return None
        """Wait."""
        await super().work(ctx)
        return WaitFor("go")


async def send_elsewhere(database: Database, name: str, payloads: Sequence[int]) -> None:
    """Send signals from another process."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SEND, database.url, name, "go", json.dumps(list(payloads))),
        cwd=Path(__file__).parents[2],
    )
    assert await process.wait() == 0


async def test_one_that_comes_while_the_step_runs_is_taken_when_it_waits(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [HoldThenWait("one")])
    handle = await engine.start("w")
    await world.entered["one"].wait()
    await engine.signal("w", "go", "early", actor="ada")
    assert (await engine.get("w")).context == {}
    world.gates["one"].set()
    assert (await handle).context == {"go": "early"}
    told = [(str(event.cause), event.before, event.actor) for event in await engine.history("w")]
    assert ("signal", "running", "ada") in told


async def test_one_that_comes_afterwards_is_refused_or_kept(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [Await("one"), Hold("two")])
    handle = await engine.start("w")
    await waits(engine)
    await engine.signal("w", "go", 1)
    await world.entered["two"].wait()
    await engine.signal("w", "go", 2)
    world.gates["two"].set()
    assert (await handle).context == {"go": 1}
    with pytest.raises(InvalidState, match="completed"):
        await engine.signal("w", "go", 3)
    assert (await engine.restart("w", from_step=1)).context == {"go": 2}, "it was kept, for whoever waits next"


@each_kind_of_lock
async def test_one_of_another_process_wakes_who_waits(engine: Engine, database: Database) -> None:
    await engine.create_workflow("w", {}, [Await("one")])
    handle = await engine.start("w")
    await waits(engine)
    await send_elsewhere(database, "w", [7])
    assert (await handle).context == {"go": 7}


async def test_of_many_at_once_each_is_taken_once(
    engine: Engine, open_engine: OpenEngine, database: Database, world: World
) -> None:
    """By two engines and another process, while a third one waits for one after the other."""
    others = [await open_engine(), await open_engine()]
    count = 12
    steps = [Await(f"s{n:02}", save_as=f"s{n:02}") for n in range(count)]
    await engine.create_workflow("w", {}, [*steps, Await("last", topic="never")])
    handle = await engine.start("w")
    await waits(engine)
    sent = [other.signal("w", "go", at * 4 + n) for at, other in enumerate(others) for n in range(4)]
    await asyncio.gather(*sent, send_elsewhere(database, "w", range(8, 12)))
    async with asyncio.timeout(60):
        while (await engine.get("w")).position != count + 1:
            await asyncio.sleep(0.01)
    workflow = await engine.get("w")
    assert sorted(workflow.context.values()) == list(range(count))
    assert world.calls == [f"s{n:02}" for n in range(count)] + ["last"]
    taken = await database.execute("SELECT taken_rev FROM awfe_signal")
    assert len({rev for (rev,) in taken}) == count
    await waits(engine)
    await engine.pause("w")
    with pytest.raises(WorkflowPaused):
        await handle
