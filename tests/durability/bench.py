"""What the model's machine compares: two engines on one database, and what they show, in the model's terms."""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from sqlalchemy import text

from awfe import Engine, Event, Workflow
from awfe.domain.records import Changes, WorkflowStep
from awfe.testing.crashes import crash
from tests.conformance.conftest import QUICK
from tests.databases import Database
from tests.durability import model
from tests.durability.acting import Stage
from tests.durability.model_values import Change, Line, Shown

T = TypeVar("T")
MAX_INTERRUPTS = 1
LIMIT = 20.0
_SETTINGS: dict[str, Any] = {
    "takeover_delay": 0.0,
    "max_interrupts": MAX_INTERRUPTS,
    "max_running": 8,
    "pool_size": 4,
    "lock_heartbeat": 14.0,
}
_TABLES = ("attempt", "event", "signal", "step", "tombstone", "workflow")


class Bench:
    """Two engines on one database, for one example after another, in one loop."""

    def __init__(self, database: Database) -> None:
        """Open them."""
        self._database = database
        self.url = database.url
        self._runner = asyncio.Runner()
        self.engines = [self.run(self._open()) for _ in range(2)]
        self.tasks: set[asyncio.Task[Workflow]] = set()
        self.owners = {engine._crew.owner for engine in self.engines}

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Do something in the loop, which stands still in between."""

        async def limited() -> T:
            async with asyncio.timeout(LIMIT):
                return await coroutine

        return self._runner.run(limited())

    async def _open(self) -> Engine:
        engine = Engine(self._database.url, **(QUICK | _SETTINGS))
        await engine.open()
        return engine

    def crash(self, index: int) -> None:
        """Crash an engine and open another in its place; returns when the server knows that its locks are free."""
        self.run(self._crash(index))

    async def _crash(self, index: int) -> None:
        await crash(self.engines[index])
        engine = self.engines[index] = await self._open()
        others = {each._crew.owner for each in self.engines}
        self.owners |= others
        for head in await engine._reads.running():
            while head.owner not in others and await engine._crew.locks.is_held(head.id, head.owner):
                await asyncio.sleep(0.002)

    def begin(self, *, clean: bool) -> None:
        """Begin an example on an empty database."""
        Stage.now = Stage()
        if not clean:
            for index in range(2):
                self.crash(index)
        self.run(self._empty())

    def follow(self, what: str, awaitable: Awaitable[Workflow]) -> "asyncio.Task[Workflow]":
        """Await something beside the test."""

        async def begin() -> asyncio.Task[Workflow]:
            return asyncio.create_task(_of(awaitable), name=what)

        task = self.run(begin())
        self.tasks.add(task)
        return task

    async def _empty(self) -> None:
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()
        async with self._database._engine.begin() as connection:
            for table in _TABLES:
                await connection.execute(text(f"DELETE FROM awfe_{table}"))

    def close(self) -> None:
        """Close everything."""
        for engine in self.engines:
            self.run(engine.close())
        self._runner.close()


async def _of(awaitable: Awaitable[Workflow]) -> Workflow:
    return await awaitable


def same(what: str, actual: Any, wanted: Any) -> None:
    """Fail, and show where they differ, unless both are the same."""
    if actual == wanted:
        return
    if isinstance(actual, dict) and isinstance(wanted, dict):
        keys = [key for key in actual | wanted if actual.get(key, ...) != wanted.get(key, ...)]
        actual, wanted = ({key: each.get(key, ...) for key in keys} for each in (actual, wanted))
    msg = f"{what}:\n  is       {actual}\n  is to be {wanted}"
    raise AssertionError(msg)


def expected(workflow: model.Workflow) -> dict[str, Any]:
    """Return what `get` is to show."""
    return {
        "state": workflow.state,
        "position": workflow.position,
        "request": workflow.request,
        "revision": workflow.revision,
        "context": workflow.context(),
        "initial": workflow.initial,
        "begun": workflow.started,
        "ended": workflow.state == "completed",
        "steps": list(workflow.shown()),
    }


def shown(workflow: Workflow) -> dict[str, Any]:
    """Return what `get` shows."""
    return {
        "state": str(workflow.state),
        "position": workflow.position,
        "request": workflow.request,
        "revision": workflow.revision,
        "context": workflow.context,
        "initial": workflow.initial_context,
        "begun": workflow.started_at is not None,
        "ended": workflow.ended_at is not None,
        "steps": [_step(step) for step in workflow.steps],
    }


def _step(step: WorkflowStep) -> Shown:
    return Shown(
        str(step.state),
        step.attempt,
        begun=step.started_at is not None,
        ended=step.ended_at is not None,
        change=_change(step.changes),
        output=step.output,
        error=None if step.error is None else f"{step.error.type}: {step.error.message}",
        due=step.due_at is not None,
    )


def _change(changes: Changes) -> Change:
    # A key that was removed and then set is listed as both.
    return Change(changes.set, frozenset(changes.unset) - changes.set.keys())


def line(event: Event, owners: set[str]) -> Line:
    """Return a line of a history."""
    return Line(
        str(event.cause),
        None if event.before is None else str(event.before),
        None if event.after is None else str(event.after),
        # The contract does not say at which step a workflow was reset.
        None if event.cause == "reset" else event.step,
        event.attempt,
        "engine" if event.actor in owners else event.actor,
        _change(event.changes),
    )
