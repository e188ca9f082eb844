"""The checker of the tables, for workflows that wait, are sent signals and are rolled back."""

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from awfe import Engine
from awfe.testing.invariants import violations
from tests.databases import Database
from tests.durability.waiting_lives import Asks, Signalled, Sleeps, comes_to, half_undone, undone, waited

QUICK: dict[str, Any] = {"poll_interval": 0.05, "takeover_delay": 0.05, "stop_grace": 5.0}
CAUSES = {
    *("created", "signal", "approve", "run", "step_waiting", "pause", "stop", "skip", "update_context", "reset"),
    *("reset_from", "reject", "rollback", "checkpoint"),
}


async def test_workflows_that_wait_and_are_undone_violate_nothing(database: Database) -> None:
    """Whatever is done to them meanwhile."""
    async with Engine(database.url, **QUICK) as engine:
        await waited(engine, "waited")
        assert await violations(database.url) == []
        await undone(engine, "undone")
        await half_undone(engine, "half")
        states = {each.name: each.state.value for each in await engine.list()}
        await engine.delete("half")
    assert states == {
        "waited": "completed",
        "waited/child": "completed",
        "undone": "rolled_back",
        "half": "rolled_back",
    }
    assert await violations(database.url) == []
    assert {row[0] for row in await database.execute("SELECT cause FROM awfe_event")} >= CAUSES
    outcomes = {row[0] for row in await database.execute("SELECT outcome FROM awfe_attempt")}
    assert outcomes == {"completed", "stopped", "error", "undone"}


async def test_what_waits_violates_nothing(database: Database) -> None:
    """For a signal, for a time, paused in the middle of it."""
    async with Engine(database.url, **QUICK) as engine:
        await engine.create_workflow("w", {}, [Signalled, Asks, Sleeps, Sleeps])
        for position in (1, 2, 3):
            await engine.start("w")
            await comes_to(engine, "w", "waiting", position)
            assert await violations(database.url) == []
            await engine.pause("w")
            assert await violations(database.url) == []
            await engine.skip("w")
            assert await violations(database.url) == []


ONE = "workflow_id = (SELECT id FROM awfe_workflow WHERE name = 'waited')"
BACK = "workflow_id = (SELECT id FROM awfe_workflow WHERE name = 'undone')"
# What is done to the tables, and the sentence that must be said about it.
TAMPERED = {
    "a signal that was taken twice": (
        f"UPDATE awfe_signal SET taken_rev = (SELECT MIN(taken_rev) FROM awfe_signal WHERE {ONE}) WHERE {ONE}",
        "signals",
    ),
    "a signal that was taken at no revision": (
        f"UPDATE awfe_signal SET taken_rev = 999 WHERE {ONE} AND topic = 'look'",
        "was taken at revision 999, by which no step can take one",
    ),
    "a signal that was taken by a step that waits for another": (
        f"UPDATE awfe_signal SET topic = 'stop' WHERE {ONE} AND topic = 'look'",
        "when its topic was not waited for",
    ),
    "a signal that overtook another": (
        f"UPDATE awfe_signal SET id = -id WHERE {ONE} AND topic = 'go'",
        "was taken before an earlier one",
    ),
    "a signal that was lost": (f"DELETE FROM awfe_signal WHERE {ONE} AND topic = 'go'", "was noted, and is not there"),
    "a signal that nobody sent": (
        f"DELETE FROM awfe_event WHERE {ONE} AND cause = 'signal'",
        "is there, and nobody sent it",
    ),
    "an attempt that waits for ever": (
        f"DELETE FROM awfe_attempt WHERE {ONE} AND position = 4 AND outcome = 'stopped'",
        "leaves an attempt of step 4 that waits, and that never ended",
    ),
    "a wait of another attempt": (
        f"UPDATE awfe_event SET attempt = 9 WHERE {ONE} AND cause = 'step_waiting' AND position = 1",
        "is of attempt 9 of step 1, which did not run",
    ),
    "a wait that came twice": (
        f"UPDATE awfe_event SET rev = rev + 1 WHERE {ONE} AND cause = 'step_waiting' AND position = 1",
        "was made twice",
    ),
    "an undo that was never begun": (
        f"DELETE FROM awfe_event WHERE {BACK} AND cause = 'rollback'",
        "is the end of the work of step",
    ),
    "work in the middle of a rollback": (
        f"UPDATE awfe_attempt SET outcome = 'completed' WHERE {BACK} AND outcome = 'undone' AND position = 2",
        "is the end of an undo of step 2",
    ),
    "an undo of what was not done": (
        f"UPDATE awfe_attempt SET position = 4, attempt = 2 WHERE {BACK} AND outcome = 'undone' AND position = 2",
        "is about step 4, which is not to be undone below step 3",
    ),
    "a rollback of nothing": (
        f"UPDATE awfe_event SET position = 4 WHERE {BACK} AND cause = 'rollback'",
        "is about step 4, which is not to be undone below step 5",
    ),
    "a rolled back workflow that goes forward": (
        "UPDATE awfe_workflow SET undoing = 0 WHERE name = 'undone'",
        "it is rolled_back, and its undoing is 0",
    ),
    "a rolled back workflow at a step": (
        "UPDATE awfe_workflow SET position = 1, step_state = 'undone' WHERE name = 'undone'",
        "it is rolled_back, at step 1 of 5",
    ),
    "a row that waits for nothing": (
        "UPDATE awfe_workflow SET wait_topic = 'go' WHERE name = 'waited'",
        "and its wait_topic is go",
    ),
    "a child that is older than its parent": (
        "UPDATE awfe_workflow SET parent_id = id WHERE name = 'waited/child'",
        "is younger than itself",
    ),
    "a pause of what waits, without a token": (
        f"UPDATE awfe_attempt SET run_token = run_token - 1 WHERE {ONE} AND position = 4 AND outcome = 'stopped'",
        "was committed with the fencing token",
    ),
    "signals of a workflow that is gone": (
        "DELETE FROM awfe_workflow WHERE name = 'waited'",
        "awfe_signal has rows of workflow",
    ),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with workflows that saw everything."""
    path = tmp_path_factory.mktemp("invariants") / "awfe.db"

    async def make() -> None:
        async with Engine(f"sqlite:///{path}", **QUICK) as engine:
            await waited(engine, "waited")
            await undone(engine, "undone")

    asyncio.run(make())
    return path


@pytest.mark.parametrize("what", TAMPERED)
async def test_tampered_tables_are_told(template: Path, tmp_path: Path, what: str) -> None:
    """By a sentence that names it."""
    copy = tmp_path / "awfe.db"
    shutil.copy(template, copy)
    sql, sentence = TAMPERED[what]
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        assert connection.execute(sql).rowcount > 0
        connection.commit()
    told = await violations(f"sqlite:///{copy}")
    print(*told, sep="\n")
    assert any(sentence in each for each in told)
