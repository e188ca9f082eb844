"""The verbs that are cut off: how each is prepared, how it is used, and what it may leave."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy.ext.asyncio import AsyncSession

from awfe import (
    BaseStep,
    Context,
    Engine,
    InvalidState,
    Retry,
    Sleep,
    StepError,
    TransactionalStep,
    WaitFor,
    WorkflowHalted,
    WorkflowNotFound,
)
from awfe.domain.states import ACTIVE, ENDED
from awfe.persistence import schema
from awfe.steps import Approval, SubWorkflow
from tests.conformance.steps import Flaky, Hold, Note, Rerun, World
from tests.conformance.transactional_steps import PAY

Act = Callable[[Engine, str], Coroutine[Any, Any, object]]
Prepare = Callable[[Engine, str], Awaitable[None]]

RETRY: Final = Retry(attempts=3, wait=0.002)
# A step that saves a checkpoint and may be held, one that is tried again a little later, and one that just ends.
STEPS: Final[list[BaseStep]] = [
    Hold("one", {"a": 1}, {"saved": 1}),
    Flaky("two", 1).using(retry=RETRY),
    Note("three", {"c": 3}),
]


async def _created(engine: Engine, name: str) -> None:
    World.now.gates["one"].set()
    await engine.create_workflow(name, {"start": 0}, STEPS)


@dataclass
class PayOnce(TransactionalStep, name="tests.cancel.PayOnce"):
    """Writes a row in the name of its workflow."""

    async def work(self, ctx: Context, session: AsyncSession) -> None:
        """Pay."""
        await session.execute(PAY, {"name": ctx.workflow})
        ctx["paid"] = True


async def _paying(engine: Engine, name: str) -> None:
    async with engine._database.engine.begin() as connection:
        await connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS paid (name VARCHAR(80) NOT NULL)")
    await engine.create_workflow(name, {"start": 0}, [PayOnce(), Note("two")])


async def paid_wrongly(engine: Engine, names: Iterable[str]) -> list[str]:
    """Return what is wrong with the rows of workflows that are all completed by now."""
    async with engine._database.engine.connect() as connection:
        rows = Counter((await connection.exec_driver_sql("SELECT name FROM paid")).scalars())
        await connection.rollback()
    return [f"{name}: its row is there {rows[name]} times" for name in names if rows[name] != 1]


class Nap(BaseStep, name="tests.cancel.Nap"):
    """Waits for no time at all, which is a wait all the same."""

    async def work(self, ctx: Context) -> Sleep:
        """Wait."""
        ctx["napped"] = True
        return Sleep(0)


class Listen(BaseStep, name="tests.cancel.Listen"):
    """Waits for a signal."""

    async def work(self, ctx: Context) -> WaitFor:  # noqa: ARG002 - every step gets it
        """Wait."""
        return WaitFor("go")


@dataclass
class Undo(Note, name="tests.cancel.Undo"):
    """Can be undone."""

    async def undo(self, ctx: Context) -> None:
        """Undo it."""
        ctx["undone"] = self.name
        await ctx.checkpoint()


async def _napping(engine: Engine, name: str) -> None:
    await engine.create_workflow(name, {}, [Nap(), Note("two")])


async def _with_child(engine: Engine, name: str) -> None:
    await engine.create_workflow(name, {}, [SubWorkflow(_child(name), [Note("one")]), Note("two")])


def _child(name: str) -> str:
    return f"{name}, child"


def _waits(first: BaseStep) -> Prepare:
    async def prepare(engine: Engine, name: str) -> None:
        await engine.create_workflow(name, {}, [first, Note("two")])
        await engine.start(name)
        while (waiter := engine._steering.control.waiting.get(name)) is None:
            await asyncio.sleep(0.001)
        # Its failure is for us to see.
        waiter.result.awaited = True

    return prepare


async def _undoable(engine: Engine, name: str) -> None:
    await engine.create_workflow(name, {}, [Undo("one"), Note("two"), Undo("three")])
    await engine.run(name)


async def _running(engine: Engine, name: str) -> None:
    await engine.create_workflow(name, {"start": 0}, STEPS)
    await engine.start(name)
    await World.now.entered["one"].wait()


async def _failed(engine: Engine, name: str) -> None:
    World.now.gates["one"].set()
    World.now.failing["three"] = ValueError("no")
    await engine.create_workflow(name, {"start": 0}, STEPS)
    try:
        await engine.run(name)
    except StepError:
        World.now.failing.clear()


async def _left(engine: Engine, name: str) -> None:
    """Leave it as an engine does that closes, for the next to take up."""
    async with Engine(engine._database.url, shutdown_grace=0) as other:
        await other.create_workflow(name, {}, [Rerun("one"), Note("two")])
        await other.start(name)
        await World.now.entered["one"].wait()
    World.now.gates["one"].set()


async def _rerunning(engine: Engine, name: str) -> None:
    await engine.create_workflow(name, {}, [Rerun("one"), Note("two")])
    await engine.start(name)
    await World.now.entered["one"].wait()


async def _nothing(_engine: Engine, _name: str) -> None:
    return


async def _emptied(engine: Engine, _name: str) -> None:
    """Remove the tables."""
    async with Engine(engine._database.url) as other, other._database.engine.begin() as connection:
        await connection.exec_driver_sql("DROP VIEW awfe_step_state")
        await connection.run_sync(schema.metadata.drop_all)


async def _create(engine: Engine, name: str) -> object:
    return await engine.create_workflow(name, {"start": 0}, STEPS)


async def _start(engine: Engine, name: str) -> object:
    return await (await engine.start(name))


async def _wait(engine: Engine, name: str) -> object:
    asyncio.get_running_loop().call_soon(World.now.gates["one"].set)
    return await engine.wait(name)


@dataclass(frozen=True)
class Verb:
    """One verb. `between`: the states that it may leave when it is cut off, besides those of not at all and whole.

    `on`: whether it acts on an engine that all its cases share, or on one of its own, that is open or closed then.
    `wrong`: what is wrong with rows of their own, when all workflows are completed.
    """

    act: Act
    prepare: Prepare = _created
    between: tuple[str, ...] = ()
    on: Literal["shared", "open", "closed"] = "shared"
    wrong: Callable[[Engine, Iterable[str]], Awaitable[list[str]]] | None = None


VERBS: Final = {
    "open": Verb(lambda engine, _name: engine.open(), _nothing, on="closed"),
    "open, empty": Verb(lambda engine, _name: engine.open(), _emptied, on="closed"),
    "create_workflow": Verb(_create, _nothing),
    "run": Verb(lambda engine, name: engine.run(name), between=("stopped",)),
    "run, transactional": Verb(
        lambda engine, name: engine.run(name), _paying, between=("stopped",), wrong=paid_wrongly
    ),
    "run, waiting": Verb(lambda engine, name: engine.run(name), _napping, between=("stopped",)),
    "run, child": Verb(lambda engine, name: engine.run(name), _with_child, between=("stopped",)),
    "start": Verb(_start),
    "wait": Verb(_wait, _running),
    "pause": Verb(lambda engine, name: engine.pause(name), _running),
    "stop": Verb(lambda engine, name: engine.stop(name), _running, between=("stopped",)),
    "reset": Verb(lambda engine, name: engine.reset(name, context={"by": "reset"}), _failed),
    "reset, kept": Verb(lambda engine, name: engine.reset(name, keep_context=True), _failed),
    "reset, from": Verb(lambda engine, name: engine.reset(name, 2), _failed),
    "restart": Verb(lambda engine, name: engine.restart(name), _failed, between=("paused", "stopped")),
    "skip": Verb(lambda engine, name: engine.skip(name, context={"by": "skip"}), _failed),
    "update_context": Verb(lambda engine, name: engine.update_context(name, {"by": 1}, ["a"]), _failed),
    "delete": Verb(lambda engine, name: engine.delete(name), _failed),
    "signal": Verb(lambda engine, name: engine.signal(name, "go", 1), _waits(Listen())),
    "approve": Verb(lambda engine, name: engine.approve(name), _waits(Approval("Go on?"))),
    "reject": Verb(lambda engine, name: engine.reject(name), _waits(Approval("Go on?"))),
    "pause, waiting": Verb(lambda engine, name: engine.pause(name), _waits(Listen())),
    "rollback": Verb(lambda engine, name: engine.rollback(name), _undoable, between=("stopped",)),
    "recover": Verb(lambda engine, _name: engine.recover(), _left),
    "get": Verb(lambda engine, name: engine.get(name), _failed),
    "list": Verb(lambda engine, _name: engine.list(), _failed),
    "history": Verb(lambda engine, name: engine.history(name), _failed),
    "close": Verb(lambda engine, _name: engine.close(), _rerunning, on="open"),
}


async def snapshot(engine: Engine, name: str) -> object:
    """Return all that is stored of a workflow, but for times and keys; None when it is not there."""
    try:
        workflow, history = await engine.get(name), await engine.history(name)
    except WorkflowNotFound:
        return "deleted" if name in [tombstone.name for tombstone in await engine.deleted()] else None
    steps = [(step.state, step.attempt, str(step.changes), step.output) for step in workflow.steps]
    lines = [(event.cause, event.step, event.attempt, event.before, event.after) for event in history]
    return (workflow.state, workflow.request, workflow.position, workflow.context, steps, lines)


async def goes_on(engine: Engine, name: str) -> bool:
    """Tell whether a workflow runs, or what it has waited for is there."""
    try:
        head = await engine._reads.head(name)
    except WorkflowNotFound:
        return False
    return head.state in ACTIVE or await engine._crew.waits.is_ready(head, engine._crew.clock())


async def finish(engine: Engine, name: str) -> None:
    """Bring a workflow to its end as an operator would; one that is not there is made.

    What its steps have begun comes first.
    """
    with suppress(WorkflowNotFound):
        await engine.get(_child(name))
        await finish(engine, _child(name))
    while True:
        try:
            workflow = await engine.get(name)
        except WorkflowNotFound:
            workflow = await engine.create_workflow(name, {}, STEPS)
        if workflow.state in ENDED:
            return
        undoing = (await engine._reads.head(name)).undoing
        act = asyncio.ensure_future(_ON["rolling_back" if undoing else workflow.state](engine, name))
        while not act.done():
            await _give(engine, name)
            await asyncio.wait({act}, timeout=0.01)
        with suppress(WorkflowHalted):
            act.result()


async def _give(engine: Engine, name: str) -> None:
    """Give a workflow what it waits for."""
    head = await engine._reads.head(name)
    if head.state != "waiting" or head.wait is None:
        return
    with suppress(InvalidState):
        if head.wait.kind == "approval":
            await engine.approve(name)
        elif head.wait.kind == "signal":
            await engine.signal(name, str(head.wait.signal))


_ON: Final[dict[str, Act]] = {
    "pending": lambda engine, name: engine.run(name),
    "paused": lambda engine, name: engine.run(name),
    "running": lambda engine, name: engine.wait(name),
    "waiting": lambda engine, name: engine.run(name),
    "stopped": lambda engine, name: engine.restart(name),
    "error": lambda engine, name: engine.restart(name),
    "rolling_back": lambda engine, name: engine.rollback(name),
}
