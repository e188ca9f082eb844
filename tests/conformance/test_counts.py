"""What a run costs, in statements, commits, bytes and connections."""

import asyncio
import gc
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from awfe import Context, Engine, step
from tests.conformance.conftest import OpenEngine
from tests.conformance.counting import Counted, counting
from tests.conformance.steps import Hold, Note, World
from tests.databases import Database


@pytest.fixture
def counted() -> Iterator[Counted]:
    """Count until the end of the test."""
    with counting() as counter:
        yield counter


@pytest.mark.parametrize("steps", [1, 5, 20])
async def test_n_steps_cost_n_plus_1_commits(open_engine: OpenEngine, counted: Counted, steps: int) -> None:
    engine = await open_engine(poll_interval=600)
    await engine.create_workflow("w", {}, [Note(str(n), {"n": n}) for n in range(steps)])
    counted.lines.clear()
    await engine.run("w")
    assert counted.lines.count("COMMIT") == steps + 1


async def test_a_claim_is_at_most_6_statements_and_an_end_is_1(open_engine: OpenEngine, counted: Counted) -> None:
    engine = await open_engine(poll_interval=600)
    await engine.create_workflow("w", {}, [Note("one"), Note("two"), Note("three")])
    counted.lines.clear()
    await engine.run("w")
    lines = [line for line in counted.lines if line != "BEGIN"]
    first, second, third, fourth = (index for index, line in enumerate(lines) if line == "COMMIT")
    claim = [line for line in lines[:first] if line != "ROLLBACK"]
    move = claim[-1]
    assert move in ("UPDATE", "WITH")
    assert len(claim) <= 6
    for begin, end in ((first, second), (second, third), (third, fourth)):
        assert lines[begin + 1 : end] == [move], "no ping, no rollback, nothing else"


@step
async def change_one_key(ctx: Context) -> None:
    """Change a small key beside a large one."""
    ctx["small"] = 2
    await ctx.checkpoint()


async def test_a_checkpoint_sends_what_changed_and_not_the_context(engine: Engine, counted: Counted) -> None:
    context = {"large": "x" * 1_000_000, "small": 1}
    await engine.create_workflow("w", context, [change_one_key])
    counted.sent.clear()
    workflow = await engine.run("w")
    assert workflow.context == context | {"small": 2}
    assert sum(counted.sent) < 20_000
    assert max(counted.sent) < 2_000


async def test_a_finished_or_queued_workflow_holds_no_connection(
    open_engine: OpenEngine, database: Database, world: World
) -> None:
    engine = await open_engine(max_running=3, pool_size=4)
    for n in range(12):
        await engine.create_workflow(f"w{n}", {}, [Hold("hold")])
    handles = [await engine.start(f"w{n}") for n in range(12)]
    await world.entered["hold"].wait()
    while world.calls.count("hold") < 3:
        await asyncio.sleep(0.01)
    if database.dialect != "sqlite":
        assert len(await database.sessions()) <= 3 + 4 + 1  # the bell's
    world.gates["hold"].set()
    for handle in handles:
        assert (await handle).state == "completed"
    assert await _held(database) == 0


async def _held(database: Database) -> int:
    if database.dialect == "postgresql":
        mine = "(SELECT oid FROM pg_database WHERE datname = current_database())"
        sql = f"SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND database = {mine}"
        return int((await database.execute(sql))[0][0])
    return 0


@pytest.mark.unmeasured
async def test_a_thousand_runs_leave_nothing_behind(database: Database) -> None:
    runs = 1_000
    async with Engine(database.url, max_running=20) as engine:
        await engine.create_workflow("warm", {}, [Note("one")])
        await engine.run("warm")
        tasks = len(asyncio.all_tasks())
        for n in range(runs):
            await engine.create_workflow(f"w{n}", {}, [Note("one")])
        handles = [await engine.start(f"w{n}") for n in range(runs)]
        for handle in handles:
            await handle
        del handle, handles
        gc.collect()
        assert len(asyncio.all_tasks()) == tasks
        assert engine._database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # its pools can tell
        assert list(engine._steering.control) == []
        assert await _held(database) == 0
        files = _descriptors()
        for n in range(50):
            await engine.run(f"w{n}")
        assert _descriptors() <= files
    assert await database.sessions(settle=5) == []
    folder = Path(database.url.partition(":///")[2] or "nowhere").parent
    assert not list(folder.glob("*-awfe-*")), "the flock's file is gone too"


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.databases("mysql", "postgresql")
async def test_a_hundred_run_at_once_with_a_lock_connection_each(
    open_engine: OpenEngine, database: Database, world: World
) -> None:
    engine = await open_engine(max_running=100)
    for n in range(100):
        await engine.create_workflow(f"w{n}", {}, [Hold("hold")])
    handles = [await engine.start(f"w{n}") for n in range(100)]
    async with asyncio.timeout(60):
        while world.calls.count("hold") < 100:
            await asyncio.sleep(0.01)
    assert len(await database.sessions()) >= 100
    world.gates["hold"].set()
    for handle in handles:
        assert (await handle).state == "completed"


@pytest.mark.unmeasured
async def test_ten_places_serve_a_hundred_in_their_order(open_engine: OpenEngine, world: World) -> None:
    engine = await open_engine(max_running=10)
    for n in range(100):
        await engine.create_workflow(f"w{n:03}", {}, [Note(f"{n:03}")])
    handles = [await engine.start(f"w{n:03}") for n in range(100)]
    for handle in handles:
        await handle
    assert sorted(world.calls) == [f"{n:03}" for n in range(100)]
    assert set(world.calls[:10]) <= {f"{n:03}" for n in range(30)}, "first come, first served"


@step
async def block(_ctx: Context) -> None:
    """Block the loop, as a step must not."""
    time.sleep(1.1)  # noqa: ASYNC251 - what is tested


async def test_a_step_that_blocks_the_loop_is_named(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    await engine.create_workflow("w", {}, [block])
    await engine.run("w")
    (warning,) = [r.getMessage() for r in caplog.records if "blocked the event loop" in r.getMessage()]
    assert "step 1 (block) of 'w'" in warning
