"""An engine that is crashed in this process leaves behind what a killed process leaves, and nothing else."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from awfe import BaseStep, Context, Engine, EngineNotOpen, Handle, StoreUnavailable, WorkflowLocked, WorkflowState
from awfe.settings import LOCKS
from awfe.testing.crashes import crash
from tests.conformance.conftest import QUICK
from tests.conformance.helpers import create, line, lines
from tests.conformance.steps import Hold, Note, Stubborn, World
from tests.databases import Database, Rows

Open = Callable[..., Awaitable[Engine]]
LIVES = "SELECT state, step_state, position, attempt, run_token, rev, request, resumable FROM awfe_workflow"
LOG = "SELECT rev, cause, position, attempt, before, after, changes FROM awfe_event ORDER BY id"
ENDED = "SELECT position, attempt, rev, run_token, outcome, after, changes, output FROM awfe_attempt ORDER BY rev"


@pytest.fixture(autouse=True)
def world() -> World:
    """Return what the steps of this test share."""
    World.now = World()
    return World.now


@pytest.fixture
async def open_engine(database: Database) -> AsyncIterator[Open]:
    """Return a function that opens engines on the test's database."""
    async with AsyncExitStack() as stack:

        async def open_one(**settings: Any) -> Engine:
            return await stack.enter_async_context(Engine(database.url, **(QUICK | {"takeover_delay": 0} | settings)))

        yield open_one


async def hold(engine: Engine, world: World, *steps: BaseStep, name: str = "w") -> Handle:
    """Start a workflow, and return when its first step holds."""
    await engine.create_workflow(name, {}, steps)
    handle = await engine.start(name)
    await world.entered[name].wait()
    return handle


async def settle(engine: Engine) -> str:
    """Let another engine take up what is left, as soon as the server notices; tells what that did to the workflow."""
    async with asyncio.timeout(30):
        while True:
            recovered = await engine.recover()
            if recovered.started or recovered.refused:
                return "started" if recovered.started else "refused"
            await asyncio.sleep(0.005)


async def rows(database: Database) -> list[Rows]:
    """Return all that tells one end of a runner from another."""
    before = {"mysql": "`before`", "postgresql": '"before"'}.get(database.dialect, '"before"')
    log = LOG.replace("before", before)
    return [await database.execute(query) for query in (LIVES, log, ENDED)]


@pytest.mark.parametrize("rerun", [False, True])
async def test_after_a_crash_the_rows_are_those_after_a_kill(
    open_engine: Open, database: Database, tmp_path: Path, *, rerun: bool
) -> None:
    """The same workflow is abandoned at the same place, by kill -9 of a process and by a crash here."""
    left = {}
    other = await open_engine()
    for way in ("kill", "crash"):
        marks = tmp_path / way
        await create(other, marks, rerun=rerun)
        if way == "kill":
            await _killed(database, marks)
        else:
            engine = await open_engine()
            await engine.start("w")
            await lines(marks, 2)
            await crash(engine)
        running = await rows(database)
        settled = await settle(other)
        if rerun:
            await lines(marks, 3)
        left[way] = (running, settled, await rows(database))
        Path(f"{marks}.two").touch()
        assert (await (other.wait("w") if rerun else other.restart("w"))).state == "completed"
        await other.delete("w")
    assert left["kill"] == left["crash"]
    assert left["kill"][1] == ("started" if rerun else "refused")


async def _killed(database: Database, marks: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.conformance.worker", database.url, "run", "w"),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert await line(process) == "open"
    await lines(marks, 2)
    process.kill()
    await process.communicate()


async def test_nothing_is_left_in_the_process_and_nothing_of_it_on_the_server(
    open_engine: Open, database: Database, world: World
) -> None:
    descriptors = _descriptors()
    tasks = asyncio.all_tasks()
    for n in range(5):
        settings = {"locks": LOCKS[n % 3], "max_running": 3, "recover_every": 0.05}
        engine = Engine(database.url, **(QUICK | settings))
        await engine.open()
        engine.observer(_ignore)
        for m in range(4):
            await engine.create_workflow(f"w{n}{m}", {}, [Hold(f"w{n}{m}"), Note("after")])
            await engine.start(f"w{n}{m}")
        for m in range(3):
            await world.entered[f"w{n}{m}"].wait()
        await crash(engine)
        await engine.close()
        del engine
        assert asyncio.all_tasks() == tasks
    async with asyncio.timeout(20):
        # A thread that was just opening a file closes it a moment later.
        while _descriptors() > descriptors:
            gc.collect()
            await asyncio.sleep(0.01)
    assert await database.sessions(settle=20) == []
    other = await open_engine()
    async with asyncio.timeout(30):
        # The later engines have settled some of what the earlier left.
        while (await other.stats())[WorkflowState.ERROR] < 15:
            await other.recover()
    assert (await other.stats())[WorkflowState.PENDING] == 5, "what stood in line never began"
    assert set(world.calls) == {f"w{n}{m}" for n in range(5) for m in range(3)}
    assert world.cleaned == []


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def _ignore(_event: object) -> None:
    await asyncio.sleep(0)


async def test_who_awaits_is_told_and_a_dead_engine_refuses(open_engine: Open, world: World) -> None:
    engine = await open_engine(max_running=1)
    handle = await hold(engine, world, Hold("w"))
    await engine.create_workflow("in_line", {}, [Note("never")])
    following = [asyncio.ensure_future(_follow(handle)), asyncio.create_task(engine.run("in_line"))]
    following.append(asyncio.create_task(engine.wait("w")))
    await asyncio.sleep(0)
    await crash(engine)
    for task in following:
        with pytest.raises((StoreUnavailable, EngineNotOpen)):
            await task
    with pytest.raises(EngineNotOpen):
        await engine.get("w")
    assert world.calls == ["w"]


async def _follow(handle: Handle) -> None:
    await handle


@dataclass
class Late(BaseStep):
    """Tries to save something whatever happens, in a task of its own too."""

    async def work(self, ctx: Context) -> None:
        """Hold, and save."""
        world = World.now
        ctx["one"] = 1
        aside = asyncio.create_task(self._aside(ctx))
        world.entered["w"].set()
        try:
            await world.gates["w"].wait()
        finally:
            world.cleaned.append("w")
            ctx["late"] = True
            await ctx.checkpoint()
            await aside

    async def _aside(self, ctx: Context) -> None:
        await World.now.gates["aside"].wait()
        ctx["aside"] = True
        try:
            await ctx.checkpoint()
        except StoreUnavailable as error:
            World.now.failing["aside"] = error
        World.now.entered["aside"].set()


async def test_a_step_is_left_where_it_stands_and_can_save_nothing(open_engine: Open, world: World) -> None:
    engine, other = await open_engine(), await open_engine()
    await hold(engine, world, Late())
    await crash(engine)
    world.gates["w"].set()
    world.gates["aside"].set()
    await world.entered["aside"].wait()
    assert "crashed" in str(world.failing["aside"])
    gc.collect()
    assert world.cleaned == []
    assert await settle(other) == "refused"
    assert (await other.get("w")).context == {}


async def test_a_body_that_does_not_end_ends(open_engine: Open, world: World) -> None:
    engine, other = await open_engine(), await open_engine()
    await hold(engine, world, Stubborn("w"))
    await engine.stop("w", grace=0)
    stopped = await engine.wait("w")
    assert stopped.state == "stopped"
    with pytest.raises(WorkflowLocked):
        await other.reset("w")
    await crash(engine)
    assert world.cleaned == ["w"], "only the stop has reached it"
    async with asyncio.timeout(30):
        while (await other.wait("w")).revision == stopped.revision:
            await asyncio.sleep(0.005)
    assert (await other.history("w"))[-1].cause == "body_ended"
    assert (await other.update_context("w", {"x": 1})).state == "stopped"


@dataclass
class Suicide(BaseStep):
    """Crashes the engine that runs it."""

    async def work(self, ctx: Context) -> None:
        """End everything."""
        World.now.calls.append(ctx.step.name)
        try:
            await crash(ENGINES[0])
        finally:
            World.now.cleaned.append("w")


ENGINES: list[Engine] = []


async def test_a_step_may_crash_its_own_engine(open_engine: Open, world: World) -> None:
    engine, other = await open_engine(), await open_engine()
    ENGINES[:] = [engine]
    await engine.create_workflow("w", {}, [Note("one", {"a": 1}), Suicide(), Note("three")])
    with pytest.raises(StoreUnavailable):
        await engine.run("w")
    assert await settle(other) == "refused"
    assert world.calls == ["one", "Suicide"]
    assert world.cleaned == []
    assert (await other.get("w")).context == {"a": 1}
