"""Engines on each database in turn, workflows brought to each state, and programs beside the test's own."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from awfe import BaseStep, Engine, Handle, StepError, WorkflowHalted, WorkflowState
from tests.conformance.helpers import Process, Start, line
from tests.conformance.steps import Hold, Note, World
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


STEPS: list[BaseStep] = [Note("one", {"a": 1}), Hold("two", {"b": 2}), Note("three", {"c": 3}), Note("four")]


@dataclass
class Arranged:
    """A workflow that was brought to a state; `handle` is its run, where it runs."""

    name: str
    handle: Handle | None = None


@pytest.fixture
async def arrange(
    database: Database, engine: Engine, world: World
) -> AsyncIterator[Callable[[str], Awaitable[Arranged]]]:
    """Return a function that makes a workflow of four steps in a given state: its second step is the current one."""

    async def to(state: str, name: str = "w") -> Arranged:
        arranged = Arranged(name)
        await engine.create_workflow(name, {"start": 0}, STEPS)
        if state == WorkflowState.PENDING:
            return arranged
        if state == WorkflowState.ERROR:
            world.failing["two"] = ValueError("no")
        if state not in ("error", "completed"):
            arranged.handle = await engine.start(name)
            await world.entered["two"].wait()
        await _REACH[state](engine, database, world, arranged)
        world.gates["two"].clear()
        world.failing.clear()
        return arranged

    yield to
    world.gates["two"].set()


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


def _force(state: str) -> Callable[[Engine, Database, World, Arranged], Awaitable[None]]:
    """Put a state that later issues bring into the row, to see that the verbs of today refuse it."""
    ended = "CURRENT_TIMESTAMP" if state == "rolled_back" else "NULL"

    async def force(engine: Engine, database: Database, world: World, arranged: Arranged) -> None:
        await _stop(engine, database, world, arranged)
        sql = f"UPDATE awfe_workflow SET state = :state, ended_at = {ended} WHERE name = :name"
        await database.execute(sql, {"state": state, "name": arranged.name})

    return force


_REACH = {
    "running": _stay,
    "paused": _pause,
    "stopped": _stop,
    "error": _fail,
    "completed": _complete,
    **{state: _force(state) for state in ("waiting", "rolling_back", "rolled_back")},
}
