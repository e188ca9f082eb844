"""Commits that are lost, runners that were fenced, and verbs that are cancelled at any await."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy.engine import Connection

from awfe import (
    AwfeError,
    Context,
    Engine,
    LockLost,
    StepError,
    WorkflowExists,
    WorkflowNotFound,
    step,
)
from awfe.persistence import closing, session
from tests.conformance.steps import Flaky, Hold, Note, World
from tests.databases import Database


class Commits:
    """Lets the n-th commit from now on fail: before it was done, or after."""

    def __init__(self) -> None:
        self.seen = 0
        self.fail_at = 0
        self.after = False

    def commit(self, real: Callable[[Connection], None], connection: Connection) -> None:
        """Commit, or not."""
        self.seen += 1
        if self.seen != self.fail_at:
            return real(connection)
        if self.after:
            real(connection)
        message = "injected"
        raise ConnectionResetError(message)


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> Iterator[Commits]:
    """Count the commits of data connections, and let one fail."""
    counter, real = Commits(), closing.committed
    monkeypatch.setattr(session, "committed", lambda connection: counter.commit(real, connection))
    return counter  # type: ignore[return-value]  # a fixture may


@step
async def checkpoints(ctx: Context) -> None:
    """Save in the middle."""
    ctx["begun"] = ctx.get("begun", 0) + 1
    await ctx.checkpoint()
    ctx["ended"] = ctx.get("ended", 0) + 1


async def everything(engine: Engine) -> None:
    """Use every verb that commits."""
    await engine.create_workflow("w", {"start": 0}, [Note("one"), checkpoints(), Flaky("three", 1), Note("four")])
    with pytest.raises(StepError):
        await engine.run("w")
    await engine.update_context("w", {"edited": 1})
    await engine.restart("w", keep_context=True)
    await engine.reset("w", from_step=4)
    await engine.skip("w")
    await engine.create_workflow("gone", {}, [Note("gone")])
    await engine.delete("gone")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_commit_that_is_lost_is_done_exactly_once(
    engine: Engine, world: World, commits: Commits, database: Database, *, after: bool
) -> None:
    """Every commit of a whole life is lost once, before it was done or after: the outcome is always the same."""
    await everything(engine)
    total, history = commits.seen, [(e.cause, e.step, e.attempt, e.after) for e in await engine.history("w")]
    rows = await _rows(database)
    assert total >= 14
    commits.after = after
    for n in range(1, total + 1):
        await engine.delete("w")
        world.calls.clear()
        commits.seen, commits.fail_at = 0, n
        await everything(engine)
        commits.fail_at = 0
        assert commits.seen > total, f"commit {n} was done again"
        assert world.calls == ["one", "three", "three", "four"], f"commit {n}: each step as often as it should"
        workflow = await engine.get("w")
        assert workflow.context == {"start": 0, "begun": 1, "ended": 1, "tries": 2, "edited": 1}
        assert [(e.cause, e.step, e.attempt, e.after) for e in await engine.history("w")] == history
        assert await _rows(database) == rows, f"commit {n}: no row twice, none missing"
        assert (await engine.deleted())[-1].name == "gone"


async def _rows(database: Database) -> list[Any]:
    names = ("workflow", "step", "attempt", "event")
    counts = [await database.execute(f"SELECT COUNT(*) FROM awfe_{name}") for name in names]
    return [counts, await database.execute("SELECT rev, run_token FROM awfe_workflow")]


async def test_a_fenced_runner_writes_nothing(engine: Engine, world: World, database: Database) -> None:
    await engine.create_workflow("w", {}, [Note("one"), Hold("two", {"b": 1}), Note("three")])
    handle = await engine.start("w")
    await world.entered["two"].wait()
    await database.execute("UPDATE awfe_workflow SET run_token = run_token + 1, rev = rev + 1")
    before = await engine.get("w")
    world.gates["two"].set()
    with pytest.raises(LockLost, match="taken over"):
        await handle
    assert world.calls == ["one", "two"]
    after = await engine.get("w")
    assert (after.context, after.revision) == (before.context, before.revision)


async def test_a_checkpoint_of_a_fenced_runner_fails(engine: Engine, world: World, database: Database) -> None:
    await engine.create_workflow("w", {}, [Hold("one"), checkpoints()])
    handle = await engine.start("w")
    await world.entered["one"].wait()

    @engine.before_step
    async def steal(_ctx: Context) -> None:
        await database.execute("UPDATE awfe_workflow SET run_token = run_token + 1")

    world.gates["one"].set()
    with pytest.raises(LockLost):
        await handle
    assert (await engine.get("w")).context == {}


async def test_a_cancelled_verb_leaves_nothing_half_written(engine: Engine, database: Database) -> None:
    """Cancelled at each of its awaits in turn, creating a workflow does all or nothing and leaks no connection."""
    created = refused = 0
    for awaits in range(60):
        task = asyncio.create_task(engine.create_workflow(f"w{awaits}", {"a": 1}, [Note("one"), Note("two")]))
        for _ in range(awaits):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        try:
            workflow = await engine.get(f"w{awaits}")
        except WorkflowNotFound:
            refused += 1
            await engine.create_workflow(f"w{awaits}", {"a": 1}, [Note("one"), Note("two")])
        else:
            created += 1
            assert len(workflow.steps) == 2
            assert workflow.context == {"a": 1}
            with pytest.raises(WorkflowExists):
                await engine.create_workflow(f"w{awaits}", {"a": 1}, [Note("one"), Note("two")])
    assert refused > 0
    assert engine._database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # its pools can tell
    rows = await database.execute("SELECT COUNT(*) FROM awfe_step")
    assert rows == [(120,)]


async def test_run_cancelled_at_any_await_leaves_it_runnable(engine: Engine, world: World) -> None:
    for awaits in range(0, 120, 2):
        name = f"w{awaits}"
        await engine.create_workflow(name, {}, [Note("one"), Note("two")])
        task = asyncio.create_task(engine.run(name))
        for _ in range(awaits):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError, AwfeError):
            await task
        workflow = await engine.get(name)
        assert workflow.state in {"pending", "stopped", "completed"}
        if workflow.state == "stopped":
            await engine.reset(name)
        assert (await engine.run(name)).state == "completed"
    assert engine._database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # its pools can tell
    assert len(asyncio.all_tasks()) < 10
    assert world.calls
