"""A server that forks a child for each point of a sweep: `python -m tests.durability.sweep_child URL MARKS LOCKS`.

It has imported everything, and has neither loop nor threads, so a child costs a fork. A line of its input is an order:
`scenario name number when`; the answer is the child's exit status and, of one that lived, how many calls it made.
Number 0 crashes nowhere. The scenario `orphan:…` is the preparation of another: the child dies within its step; with
`open` it only opens the engine.
"""

import asyncio
import gc
import os
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

from awfe import Engine
from awfe.testing.calls import CRASHED, Calls, When
from tests.durability.scenarios import SCENARIOS, Act, Actor, Stage
from tests.durability.sweep_settings import CHILD, bell_hangs

FAILED = 1


async def act(engine: Engine, calls: Calls, scenario: str, name: str, number: int, when: When) -> None:
    """Open, arrive, and then act and close with a crash at the given call."""
    await engine.open()
    await bell_hangs(engine, calls)
    actor = Actor(engine, name, SCENARIOS[scenario])
    await actor.scenario.arrive(actor)
    calls.clear()
    calls.crash_at(number, when)
    await actor.scenario.act(actor)
    await engine.close()


async def orphan(engine: Engine, scenario: str, name: str) -> None:
    """Die in the middle of a step."""
    await engine.open()
    await Actor(engine, name, SCENARIOS[scenario]).begin()
    os._exit(CRASHED)


async def only_open(engine: Engine, calls: Calls, number: int, when: When) -> None:
    """Open and close, with a crash at the given call."""
    calls.crash_at(number, when)
    await engine.open()
    await bell_hangs(engine, calls)
    await engine.close()


async def live(url: str, locks: str, scenario: str, name: str, number: int, when: When) -> int:
    """Live one life; returns the number of calls, if it comes to that."""
    what, _, prepared = scenario.partition(":")
    settings: dict[str, Any] = SCENARIOS[what].settings if what in SCENARIOS else {}
    engine = Engine(url, **{**CHILD, "locks": locks, **settings})
    calls = Calls(engine)
    if what == "orphan":
        await orphan(engine, prepared, name)
    elif what == "open":
        await only_open(engine, calls, number, when)
    else:
        await act(engine, calls, scenario, name, number, when)
    return calls.count


async def warm(url: str, locks: str) -> None:
    """Import what is imported late, and fill the caches that every child would fill for itself."""
    async with Engine(url, **CHILD, locks=locks) as engine:
        await engine.create_workflow("warm", {}, [Act(holds=False)])
        await engine.run("warm")
        await engine.delete("warm")


def child(answers: int, *life: Any) -> NoReturn:
    """Live in a process of one's own, which ends here at the latest."""
    status = FAILED
    try:
        os.write(answers, f"{asyncio.run(live(*life))}\n".encode())
        status = 0
    except BaseException:  # noqa: BLE001 - a forked child must not come back
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def main(url: str, marks: str, locks: str) -> None:
    """Fork a child for each line of the input."""
    Stage.now = Stage(Path(marks), holding=True)
    asyncio.run(warm(url, locks))
    # A child lives too shortly to have garbage, and looking for it would copy the memory that is shared.
    gc.disable()
    gc.freeze()
    print("ready", flush=True)
    for line in sys.stdin:
        scenario, name, number, when = line.split()
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            child(writing, url, locks, scenario, name, int(number), when)
        os.close(writing)
        _, ended = os.waitpid(pid, 0)
        with os.fdopen(reading) as answer:
            print(os.waitstatus_to_exitcode(ended), answer.read().strip() or 0, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
