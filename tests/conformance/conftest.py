"""Engines on each database in turn, workflows brought to each state, and programs beside the test's own."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from awfe import BaseStep, Engine, Handle, StepError, Workflow, WorkflowHalted, WorkflowState
from tests.conformance.helpers import Process, Start, line
from tests.conformance.steps import Note, World
from tests.conformance.waiting_steps import HoldOrWait, Undoable
from tests.databases import Database

# Short enough for a test that has to wait for them, long enough for a machine that is busy.
QUICK: dict[str, Any] = {
    "poll_interval": 0.05,
    "takeover_delay": 0.05,
    "stop_grace": 5.0,
    "shutdown_grace": 5.0,
    "connect_retry_for": 10.0,
    "db_retry_for": 20.0,
}
OpenEngine = Callable[..., Awaitable[Engine]]


@pytest.fixture(autouse=True)
def world() -> World:
    """Return what the steps of this test share."""
    World.now = World()
    return World.now


@pytest.fixture
def locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the kind of locks of all engines of the test, those in other processes too; see `each_kind_of_lock`."""
    kind: str = getattr(request, "param", "dedicated")
    monkeypatch.setenv("AWFE_LOCKS", kind)
    if kind == "lease":
        # Who takes over from the dead waits for it to run out.
        monkeypatch.setenv("AWFE_LOCK_LIMIT", "1")
        monkeypatch.setenv("AWFE_LOCK_HEARTBEAT", "0.25")
    return kind


@pytest.fixture
async def open_engine(database: Database, locks: str) -> AsyncIterator[OpenEngine]:  # noqa: ARG001 - set before
    """Return a function that opens further engines on the test's database."""
    async with AsyncExitStack() as stack:

        async def open_one(db: Any = None, **settings: Any) -> Engine:
            return await stack.enter_async_context(Engine(db or database.url, **(QUICK | settings)))

        yield open_one


@pytest.fixture
async def engine(open_engine: OpenEngine) -> Engine:
    """Return an engine on the test's database."""
    return await open_engine()


@pytest.fixture
async def start(database: Database) -> AsyncIterator[Start]:
    """Return a function that starts a worker on the test's database; all are ended afterwards."""
    started: list[Process] = []

    async def start_one(verb: str, *names: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.conformance.worker", database.url, verb, *names),
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        started.append(process)
        assert await line(process) == "open"
        return process

    yield start_one
    for process in started:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


STEPS: list[BaseStep] = [
    Undoable("one", {"a": 1}),
    HoldOrWait("two", {"b": 2}),
    Note("three", {"c": 3}),
    Note("four"),
]


@dataclass
class Arranged:
    """A workflow that was brought to a state; `handle` is its run, where it runs."""

    name: str
    handle: Handle | None = None
    rollback: asyncio.Task[Workflow] | None = None


@pytest.fixture
async def arrange(
    database: Database, engine: Engine, world: World
) -> AsyncIterator[Callable[[str], Awaitable[Arranged]]]:
    """Return a function that makes a workflow of four steps in a given state: its second step is the current one."""
    made: list[Arranged] = []

    async def to(state: str, name: str = "w") -> Arranged:
        arranged = Arranged(name)
        made.append(arranged)
        await engine.create_workflow(name, {"start": 0}, STEPS)
        if state == WorkflowState.PENDING:
            return arranged
        if state == WorkflowState.WAITING:
            world.waiting.add("two")
        if state == WorkflowState.ERROR:
            world.failing["two"] = ValueError("no")
        if state not in ("error", "completed", "rolling_back", "rolled_back"):
            arranged.handle = await engine.start(name)
            await world.entered["two"].wait()
        await _REACH[state](engine, database, world, arranged)
        world.gates["two"].clear()
        world.failing.clear()
        return arranged

    yield to
    for gate in world.gates.values():
        gate.set()
    for arranged in made:
        if arranged.rollback is not None:
            await asyncio.wait({arranged.rollback})
            arranged.rollback.exception()


async def _stay(_engine: Engine, _database: Database, _world: World, _arranged: Arranged) -> None:
    return


async def _pause(engine: Engine, _database: Database, world: World, arranged: Arranged) -> None:
    await engine.pause(arranged.name)
    world.gates["two"].set()
    await _halted(arranged)


async def _stop(engine: Engine, _database: Database, _world: World, arranged: Arranged) -> None:
    await engine.stop(arranged.name)
    await _halted(arranged)


async def _halted(arranged: Arranged) -> None:
    assert arranged.handle is not None
    with pytest.raises(WorkflowHalted):
        await arranged.handle


async def _fail(engine: Engine, _database: Database, world: World, arranged: Arranged) -> None:
    world.gates["two"].set()
    with pytest.raises(StepError):
        await engine.run(arranged.name)


async def _complete(engine: Engine, _database: Database, world: World, arranged: Arranged) -> None:
    world.gates["two"].set()
    await engine.run(arranged.name)


async def _wait(engine: Engine, _database: Database, _world: World, arranged: Arranged) -> None:
    while (await engine.get(arranged.name)).state != "waiting" or engine._steering.control:
        await asyncio.sleep(0.01)


async def _roll_back(engine: Engine, database: Database, world: World, arranged: Arranged) -> None:
    await _complete(engine, database, world, arranged)
    await engine.rollback(arranged.name)


async def _be_rolling_back(engine: Engine, database: Database, world: World, arranged: Arranged) -> None:
    await _complete(engine, database, world, arranged)
    world.gates["undo one"].clear()
    arranged.rollback = asyncio.create_task(engine.rollback(arranged.name))
    await world.entered["undo one"].wait()


_REACH = {
    "running": _stay,
    "paused": _pause,
    "stopped": _stop,
    "error": _fail,
    "completed": _complete,
    "waiting": _wait,
    "rolling_back": _be_rolling_back,
    "rolled_back": _roll_back,
}
