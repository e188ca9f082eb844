"""A server that forks a child for each point of a sweep: `python -m tests.durability.sweep_child`.

It has imported everything, and has neither loop nor threads, so a child costs a fork. A line of its input is an order,
in JSON: where and as whom to live; the answer is the child's exit status and, of one that lived, what kinds of calls it
made. Number 0 crashes nowhere. The scenario `orphan:…` is the preparation of another: the child dies within its step,
or while that waits; with `open` it only opens the engine.
"""

import asyncio
import gc
import json
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from awfe import Engine
from awfe.testing.calls import CRASHED, Calls, When
from tests.durability.compiled import share
from tests.durability.scenarios import SCENARIOS
from tests.durability.sweep_actor import Actor
from tests.durability.sweep_settings import CHILD, bell_hangs
from tests.durability.sweep_steps import Act, Stage

FAILED = 1


@dataclass(frozen=True)
class Order:
    """Where a child lives, as whom, and where it dies; its marks go to `marks`."""

    url: str
    locks: str
    marks: str
    scenario: str
    name: str = "-"
    number: int = 0
    when: When = "before"


async def act(engine: Engine, calls: Calls, order: Order) -> None:
    """Open, arrive, and then act and close with a crash at the given call."""
    await engine.open()
    await bell_hangs(engine, calls)
    actor = Actor(engine, order.name, SCENARIOS[order.scenario])
    await actor.scenario.arrive(actor)
    calls.clear()
    calls.crash_at(order.number, order.when)
    await actor.scenario.act(actor)
    await engine.close()


async def orphan(engine: Engine, scenario: str, name: str) -> None:
    """Die in the middle of a step."""
    await engine.open()
    actor = Actor(engine, name, SCENARIOS[scenario])
    await actor.scenario.leave(actor)
    os._exit(CRASHED)


async def only_open(engine: Engine, calls: Calls, number: int, when: When) -> None:
    """Open and close, with a crash at the given call."""
    calls.crash_at(number, when)
    await engine.open()
    await bell_hangs(engine, calls)
    await engine.close()


async def live(order: Order) -> list[str]:
    """Live one life; returns the kinds of its calls, if it comes to that."""
    what, _, prepared = order.scenario.partition(":")
    settings: dict[str, Any] = SCENARIOS[what].settings if what in SCENARIOS else {}
    engine = Engine(order.url, **{**CHILD, "locks": order.locks, **settings})
    calls = Calls(engine)
    if what == "orphan":
        await orphan(engine, prepared, order.name)
    elif what == "open":
        await only_open(engine, calls, order.number, order.when)
    else:
        await act(engine, calls, order)
    return [call.kind for call in calls.log]


async def warm(url: str, locks: str) -> None:
    """Import what is imported late, and fill the caches that every child would fill for itself."""
    async with Engine(url, **CHILD, locks=locks) as engine:
        await engine.create_workflow("warm", {}, [Act(holds=False)])
        await engine.run("warm")
        await engine.delete("warm")


def child(answers: int, order: Order) -> NoReturn:
    """Live in a process of one's own, which ends here at the latest."""
    status = FAILED
    Stage.now = Stage(Path(order.marks), holding=True)
    try:
        os.write(answers, json.dumps(asyncio.run(live(order))).encode())
        status = 0
    except BaseException:  # noqa: BLE001 - a forked child must not come back
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def fork(order: Order) -> tuple[int, list[str]]:
    """Let a child live; returns its exit status, and the kinds of its calls when it lived to the end."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        child(writing, order)
    os.close(writing)
    with os.fdopen(reading) as answer:
        kinds = json.loads(answer.read() or "[]")
    _, ended = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(ended), kinds


def main() -> None:
    """Fork a child for each line of the input."""
    warmed = set()
    share()
    # A child lives too shortly to have garbage, and looking for it would copy the memory that is shared.
    gc.disable()
    for line in sys.stdin:
        order = Order(**json.loads(line))
        if order.scenario == "warm":
            if (kind := (order.url.partition(":")[0], order.locks)) not in warmed:
                warmed.add(kind)
                Stage.now = Stage(Path(order.marks), holding=True)
                asyncio.run(warm(order.url, order.locks))
                gc.freeze()
            answer: tuple[int, list[str]] = 0, []
        else:
            answer = fork(order)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
