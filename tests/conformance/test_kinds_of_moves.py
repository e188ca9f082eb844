"""Moves of every kind in one transaction: each writes what it writes alone, and does to others what it does alone."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from awfe import Again, BaseStep, Context, Engine, Retry, Sleep, WaitFor
from awfe.domain.waits import Approving
from awfe.steps import SubWorkflow
from awfe.testing.invariants import violations
from tests.conformance.steps import Hold, Note, World
from tests.conformance.test_batches import kinds, open_watched
from tests.conformance.waiting_steps import FAR
from tests.databases import Database

ODD = "\u00e9 ' \\ : %s \U0001f600"


def fail() -> None:
    """Fail with what a message may contain."""
    raise ValueError(f"\x00 {ODD}")  # noqa: EM102, TRY003 - it is of no interest


WAYS: dict[str, Callable[[], Any]] = {
    "goes on": lambda: None,
    "ends": lambda: None,
    "fails": fail,
    "is retried later": fail,
    "is passed over": fail,
    "sleeps": lambda: Sleep(FAR),
    "looks again": lambda: Again(FAR, ODD),
    "waits": lambda: WaitFor(ODD, FAR, save_as=ODD, default=[0.1, ODD]),
    "asks": lambda: Approving("question", (ODD,), FAR, "answer"),
}
POLICIES: dict[str, dict[str, Any]] = {
    "is retried later": {"retry": Retry(attempts=2, wait=FAR)},
    "is passed over": {"on_error": "skip"},
}
FACTS = {
    "awfe_workflow": (
        "state, position, step_state, attempt, resumable, run_token, rev, request, stop_grace, undoing, wait, waiter, "
        "wait_topic, owner, started_at IS NULL, ended_at IS NULL, attempt_started_at IS NULL"
    ),
    "awfe_attempt": (
        "position, attempt, rev, run_token, outcome, after, changes, output, error_type, error_message, error_traceback"
    ),
    "awfe_event": "rev, cause, position, attempt, after, actor, reason, detail, changes, output",
}


@dataclass
class Ends(BaseStep):
    """Ends in its own way when the gate of all opens."""

    how: str

    async def work(self, ctx: Context) -> Any:
        """Wait for the others."""
        World.now.entered[ctx.workflow].set()
        await World.now.gates["all"].wait()
        ctx[ODD] = [self.how, "\x00"]
        ctx.output(ODD)
        return WAYS[self.how]()


async def begin(engine: Engine, name: str, how: str) -> None:
    """Run it to its gate."""
    steps = [Ends(how).using(**POLICIES.get(how, {})), Note("after")]
    await engine.create_workflow(name, {}, steps[: 1 if how == "ends" else 2])
    await engine.start(name)
    await World.now.entered[name].wait()


async def rest(engine: Engine, *names: str) -> None:
    """Return when none of these runs any more."""
    control = engine._steering.control
    async with asyncio.timeout(30):
        while any(control.get(name) is not None for name in names):
            await asyncio.sleep(0.001)


async def left(engine: Engine, database: Database, name: str) -> dict[str, Any]:
    """Return all that was written for it, but for names and times."""
    head = await engine._reads.head(name)
    last = (await engine.history(name))[-1]
    found: dict[str, Any] = {"due": head.due_at and head.due_at - last.at}
    for table, facts in FACTS.items():
        where = "id" if table == "awfe_workflow" else "workflow_id"
        rows = await database.execute(f"SELECT {facts} FROM {table} WHERE {where} = :id ORDER BY rev", {"id": head.id})
        found |= {table: rows}
    return found


async def test_each_writes_what_it_writes_alone(database: Database, world: World) -> None:
    engine, calls = await open_watched(database)
    async with engine:
        world.gates["all"].set()
        for how in WAYS:
            await begin(engine, f"{how} alone", how)
            await rest(engine, f"{how} alone")
        world.gates["all"].clear()
        for how in WAYS:
            await begin(engine, f"{how} together", how)
        calls.clear()
        world.gates["all"].set()
        await rest(engine, *(f"{how} together" for how in WAYS))
        told = kinds(calls)
        assert told[: told.index("commit")].count("UPDATE") == 1, "one statement for the heads of all"
        for how in WAYS:
            together = await left(engine, database, f"{how} together")
            assert together == await left(engine, database, f"{how} alone")
            assert together["due"] in {None, timedelta(seconds=FAR)}
    assert await violations(database.url) == []


async def test_children_that_end_together_tell_each_of_their_parents(database: Database, world: World) -> None:
    children = [f"child {n}" for n in range(5)]
    engine, calls = await open_watched(database)
    async with engine:
        for name in children:
            world.gates[name] = world.gates["all"]
            await engine.create_workflow(f"parent of {name}", {}, [SubWorkflow(name, [Hold(name)])])
            await engine.start(f"parent of {name}")
            await world.entered[name].wait()
        await rest(engine, *(f"parent of {name}" for name in children))
        calls.clear()
        world.gates["all"].set()
        for name in children:
            assert (await engine.wait(f"parent of {name}")).state == "completed"
        told = kinds(calls)
    signals = await database.execute("SELECT workflow_id, topic, payload FROM awfe_signal")
    assert len(set(signals)) == len(signals) == len(children)
    ends = told[: told.index("commit")]
    assert (ends.count("UPDATE"), ends.count("INSERT")) == (1, len(children) + 1), "one for the attempts of all"
    assert await violations(database.url) == []
