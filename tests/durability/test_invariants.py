"""The checker of the tables: silent on what real engines write, and loud on what nobody may have written."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from awfe import BaseStep, Context, Engine, Retry, StepError, WorkflowHalted
from awfe.testing.invariants import violations
from tests.databases import Database

QUICK: dict[str, Any] = {"poll_interval": 0.05, "takeover_delay": 0.05, "stop_grace": 5.0}


class Gates:
    """What the steps of this file wait for, and how often they still fail."""

    open: asyncio.Event
    entered: asyncio.Event
    failures: int

    @classmethod
    def renew(cls) -> None:
        """Begin with open gates."""
        cls.open, cls.entered, cls.failures = asyncio.Event(), asyncio.Event(), 0
        cls.open.set()


class Plain(BaseStep, name="tests.invariants.Plain"):
    """Changes the context, and saves a part of it on the way."""

    async def work(self, ctx: Context) -> None:
        """Change it."""
        ctx["seen"] = [*ctx.get("seen", []), ctx.step.position]
        await ctx.checkpoint()
        ctx["last"] = ctx.step.position


class Failing(BaseStep, name="tests.invariants.Failing"):
    """Fails as often as the test wants."""

    async def work(self, ctx: Context) -> None:
        """Fail."""
        ctx["tried"] = ctx.step.attempt
        if Gates.failures:
            Gates.failures -= 1
            msg = "not yet"
            raise OSError(msg)


class Gated(BaseStep, name="tests.invariants.Gated"):
    """Waits for the test."""

    async def work(self, ctx: Context) -> None:
        """Wait."""
        ctx["gated"] = True
        Gates.entered.set()
        await Gates.open.wait()


STEPS: list[Any] = [Plain, Failing().using(retry=Retry(attempts=2, wait=0.01)), Gated, Plain]


@pytest.fixture(autouse=True)
def gates() -> None:
    """Begin with open gates."""
    Gates.renew()


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[Engine]:
    """Return an engine on the test's database."""
    async with Engine(database.url, **QUICK) as engine:
        yield engine


async def halted(engine: Engine, verb: Callable[[str], Awaitable[None]], name: str) -> None:
    """Halt a workflow while its third step runs."""
    Gates.open.clear()
    Gates.entered.clear()
    handle = await engine.start(name)
    await Gates.entered.wait()
    await verb(name)
    Gates.open.set()
    with pytest.raises(WorkflowHalted):
        await handle


async def lived(engine: Engine, name: str) -> None:
    """Let a workflow see all that can happen to one."""
    Gates.failures = 3
    await engine.create_workflow(name, {"start": 0}, STEPS)
    await engine.update_context(name, {"edited": 1})
    with pytest.raises(StepError):
        await engine.run(name)
    await engine.reset(name, keep_context=True)
    await engine.update_context(name, {"edited": 2}, unset=["start"])
    await halted(engine, engine.stop, name)
    await engine.reset(name)
    await halted(engine, engine.pause, name)
    await engine.reset(name, from_step=2, context={"again": True})
    await engine.run(name)
    await engine.reset(name, from_step=4)
    await engine.skip(name, context={"by": "hand"})
    await engine.restart(name, from_step=4)


async def test_a_workflow_that_saw_everything_violates_nothing(engine: Engine, database: Database) -> None:
    for name in ("a", "b"):
        await lived(engine, name)
    await engine.delete("b")
    assert await violations(database.url) == []
    assert await violations(database.url, ["a"]) == []
    causes = {row[0] for row in await database.execute("SELECT cause FROM awfe_event")}
    assert causes >= {"created", "run", "checkpoint", "attempt_begun", "pause", "stop", "reset", "reset_from", "skip"}


async def test_a_workflow_that_is_under_way_violates_nothing(engine: Engine, database: Database) -> None:
    Gates.open.clear()
    await engine.create_workflow("w", {}, STEPS)
    handle = await engine.start("w")
    await Gates.entered.wait()
    await engine.pause("w")
    assert await violations(database.url) == []
    await engine.stop("w")
    with pytest.raises(WorkflowHalted):
        await handle
    assert await violations(database.url) == []


LAST = "(SELECT m FROM (SELECT MAX(rev) m FROM awfe_event) t)"
# What is done to the tables, and the sentence that must be said about it.
TAMPERED = {
    "a deleted attempt": (
        "DELETE FROM awfe_attempt WHERE position = 2 AND attempt = 1",
        "attempt 1 of step 2 is missing",
    ),
    "a deleted last attempt": (
        "DELETE FROM awfe_attempt WHERE position = 3 AND outcome = 'completed'",
        "its steps [3] are neither completed nor skipped",
    ),
    "an attempt number that was left out": (
        "UPDATE awfe_attempt SET attempt = 9 WHERE position = 1 AND attempt = 1",
        "attempt 1 of step 1 is missing",
    ),
    "a doubled revision of events": (
        "UPDATE awfe_event SET rev = 0 WHERE cause = 'run' AND rev = 2",
        "revision 0 was made twice: by created and run",
    ),
    "a doubled revision of attempts": (
        "UPDATE awfe_attempt SET rev = 6 WHERE position = 2 AND attempt < 3",
        "was made twice: by step_error and step_error",
    ),
    "a hole": ("DELETE FROM awfe_event WHERE cause = 'skip'", "has left no line"),
    "a revision beyond the row's": ("UPDATE awfe_workflow SET rev = rev - 1", "is beyond the row's revision"),
    "a row that ran ahead": ("UPDATE awfe_workflow SET rev = rev + 1", "has left no line"),
    "a fallen token": (
        "UPDATE awfe_attempt SET run_token = 1 WHERE position = 4",
        "was committed with the fencing token 1, when it was",
    ),
    "a token of the future": ("UPDATE awfe_attempt SET run_token = 99 WHERE position = 1", "beyond the row's"),
    "a row's token that fell": ("UPDATE awfe_workflow SET run_token = 1", "but its log has used"),
    "a claim without a token": (
        "UPDATE awfe_attempt SET run_token = run_token - 1 WHERE position = 4 AND attempt = 2",
        "was committed with the fencing token",
    ),
    "a request of no revision": (
        f"UPDATE awfe_event SET rev = {LAST} + 5 WHERE cause = 'pause'",
        "asks a runner at a revision that nobody made",
    ),
    "a pause that nobody heeded": (
        "UPDATE awfe_attempt SET after = 'running' WHERE position = 3 AND after = 'paused'",
        "had asked it not to",
    ),
    "changes that are no JSON": (
        "UPDATE awfe_attempt SET changes = '{' WHERE position = 1",
        "the changes of step_completed",
    ),
    "changes of another shape": (
        "UPDATE awfe_event SET changes = '{\"set\": []}' WHERE cause = 'skip'",
        "the changes of skip",
    ),
    "a checkpoint of an attempt that had ended": (
        "UPDATE awfe_event SET attempt = 1 WHERE cause = 'checkpoint' AND position = 4 AND attempt = 2",
        "is of attempt 1 of step 4, which did not run",
    ),
    "a completed workflow with a step left": (
        "UPDATE awfe_attempt SET outcome = 'error' WHERE position = 3 AND outcome = 'completed'",
        "its steps [3] are neither completed nor skipped",
    ),
    "an end that was undone": (
        "UPDATE awfe_workflow SET state = 'paused', ended_at = NULL, position = 4, step_state = 'pending'",
        "its row is paused, its log completed",
    ),
    "a workflow without its first step": ("DELETE FROM awfe_step WHERE position = 1", "its steps are at [2, 3, 4]"),
    "broken arguments": ("UPDATE awfe_step SET args = 'x' WHERE position = 2", "the args of step 2 are no JSON object"),
    "a step that is left in the air": (
        "UPDATE awfe_workflow SET state = 'error', ended_at = NULL, position = 4, step_state = 'completed'",
        "it is error, and its step completed",
    ),
    "a runner without an owner": (
        "UPDATE awfe_workflow SET state = 'running', ended_at = NULL, position = 4, step_state = 'running'",
        "and its owner is None",
    ),
    "an attempt after the end": (
        f"UPDATE awfe_attempt SET rev = {LAST} + 9 WHERE position = 3 AND outcome = 'completed'",
        "so it came after the workflow's end",
    ),
    "a workflow that is gone": ("DELETE FROM awfe_workflow", "awfe_attempt has rows of workflow"),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a workflow that saw everything."""
    path = tmp_path_factory.mktemp("invariants") / "awfe.db"

    async def make() -> None:
        Gates.renew()
        async with Engine(f"sqlite:///{path}", **QUICK) as engine:
            await lived(engine, "w")

    asyncio.run(make())
    return path


@pytest.mark.parametrize("what", TAMPERED)
async def test_tampered_tables_are_told(template: Path, tmp_path: Path, what: str) -> None:
    copy = tmp_path / "awfe.db"
    shutil.copy(template, copy)
    sql, sentence = TAMPERED[what]
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute(sql).rowcount > 0
        connection.commit()
    told = await violations(f"sqlite:///{copy}")
    print(*told, sep="\n")
    assert any(sentence in each for each in told)


@pytest.mark.databases("mysql", "postgresql")
@pytest.mark.parametrize("what", ["a deleted attempt", "a fallen token", "a doubled revision of events"])
async def test_tampered_tables_are_told_on_servers(engine: Engine, database: Database, what: str) -> None:
    await lived(engine, "w")
    sql, sentence = TAMPERED[what]
    await database.execute(sql)
    assert any(sentence in each for each in await violations(database.url))
    assert await violations(database.url, ["another"]) == []
