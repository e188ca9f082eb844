"""A COMMIT whose request or reply is cut, held, delivered late or lost: what returned is stored exactly once.

Each case does the same thing twice, undisturbed and with a fault at the n-th COMMIT, and finds the same left behind.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from awfe import BaseStep, Context, Engine, Handle, StepError, WorkflowHalted, step
from awfe.persistence import greeting, session
from awfe.testing.invariants import violations
from awfe.testing.proxy import Fault, Proxy, Strike
from tests.conformance.conftest import QUICK
from tests.conformance.steps import Hold, Note, Rerun, World
from tests.conformance.transactional_steps import Pay, make_table, paid
from tests.databases import Database
from tests.durability.sweep_settings import LONG
from tests.durability.two_engines import asked_again

pytestmark = pytest.mark.long

# asyncpg does not look at the end of a connection over which it asked to cancel a statement.
FORGOTTEN = "unexpected connection_lost() call"
HELD = (Fault.LATE, Fault.HOLD_REQUEST)


@pytest.fixture(autouse=True)
def world() -> World:
    """Return what the steps of this test share."""
    World.now = World()
    return World.now


def end_idle_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server end a transaction that is idle for a second, not for a minute, in engines opened from now on."""
    for name in ("_MYSQL_SESSION", "_POSTGRESQL_SESSION"):
        monkeypatch.setattr(greeting, name, getattr(greeting, name).replace("= 60", "= 1").replace("'60s'", "'1s'"))


def give_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a transaction up after a third of a second, from now on."""
    for name in ("_LEAST_LIMIT", "_TRANSACTION_LIMIT"):
        monkeypatch.setattr(session, name, 0.3)


@step
async def saves(ctx: Context, name: str) -> None:
    """Save twice on the way."""
    World.now.calls.append(name)
    for key in ("first", "second"):
        ctx[key] = ctx.get(key, 0) + 1
        await ctx.checkpoint()
    ctx["saved"] = True


@dataclass(frozen=True)
class Engines:
    """One whose traffic goes through the proxy, and one whose does not."""

    through: Engine
    direct: Engine


async def create(engine: Engine, name: str) -> None:
    """Create a workflow that fails at its third step as long as it is told to."""
    steps = [Note(f"{name} one", {"one": 1}), saves(f"{name} two"), Note(f"{name} three", {"three": 3})]
    await engine.create_workflow(name, {"start": 0}, steps)


async def create_paying(engine: Engine, name: str) -> None:
    """Create a workflow whose second step writes a row of its own, in its transaction."""
    steps: list[BaseStep] = [
        Note(f"{name} one", {"one": 1}),
        Pay(name, {"two": 2}),
        Note(f"{name} three", {"three": 3}),
    ]
    await engine.create_workflow(name, {"start": 0}, steps)


async def fail(engine: Engine, name: str) -> None:
    """Bring it to `error`."""
    await create(engine, name)
    World.now.failing[f"{name} three"] = ValueError("no")
    with pytest.raises(StepError):
        await engine.run(name)
    World.now.failing.clear()


async def complete(engine: Engine, name: str) -> None:
    """Bring it to `completed`."""
    await create(engine, name)
    await engine.run(name)


async def shut_down(engine: Engine, name: str) -> None:
    """Leave it paused by an engine that closed, for any engine to go on with."""
    async with Engine(engine._database.url, **(QUICK | {"shutdown_grace": 0.0})) as closing:
        await closing.create_workflow(name, {}, [Rerun(f"{name} one")])
        await closing.start(name)
        await World.now.entered[f"{name} one"].wait()


async def nothing(_engine: Engine, _name: str) -> None:
    """Begin from nothing."""


async def hold(engine: Engine, name: str) -> Handle:
    """Run a workflow whose first step waits."""
    await engine.create_workflow(name, {}, [Hold(f"{name} one", {"one": 1}), Note(f"{name} two")])
    handle = await engine.start(name)
    await World.now.entered[f"{name} one"].wait()
    return handle


async def pause(engines: Engines, name: str) -> None:
    """Pause a workflow that another engine runs: no step begins after it has returned."""
    handle = await hold(engines.direct, name)
    await engines.through.pause(name, actor="ann")
    World.now.gates[f"{name} one"].set()
    with pytest.raises(WorkflowHalted):
        await handle


async def stop(engines: Engines, name: str) -> None:
    """Stop a workflow that another engine runs."""
    handle = await hold(engines.direct, name)
    await engines.through.stop(name, actor="ann")
    with pytest.raises(WorkflowHalted):
        await handle


async def purge(engines: Engines, name: str) -> None:
    """Delete it by its age: that it was done is told, however late the answer comes."""
    await create(engines.direct, name)
    purged = await engines.through.purge(0, ["pending"], actor="ann")
    assert (purged.deleted, purged.refused) == ((name,), ())


@dataclass(frozen=True)
class Verb:
    """What is done, from what, in how many COMMITs."""

    act: Callable[[Engines, str], Awaitable[object]]
    arrange: Callable[[Engine, str], Awaitable[object]]
    commits: int = 1


VERBS = {
    "run": Verb(lambda engines, name: engines.through.run(name), create, 6),
    "pay": Verb(lambda engines, name: engines.through.run(name), create_paying, 4),
    "pause": Verb(pause, nothing),
    "stop": Verb(stop, nothing),
    "pause_at_rest": Verb(lambda engines, name: engines.through.pause(name), shut_down),
    "reset": Verb(lambda engines, name: engines.through.reset(name, keep_context=True, context={"r": 1}), fail),
    "reset_from": Verb(lambda engines, name: engines.through.reset(name, from_step=2, context={"r": 1}), complete),
    "skip": Verb(lambda engines, name: engines.through.skip(name, context={"three": "by hand"}), fail),
    "update_context": Verb(lambda engines, name: engines.through.update_context(name, {"u": 1}, ["start"]), create),
    "replace_steps": Verb(lambda engines, name: engines.through.replace_steps(name, [Note(f"{name} new")] * 2), create),
    "create_workflow": Verb(lambda engines, name: create(engines.through, name), nothing),
    "delete": Verb(lambda engines, name: engines.through.delete(name), create),
    "purge": Verb(purge, nothing),
}

PAID = 3  # that of the transactional step

# The client of these waits until it gives up, for seconds: of a run, the claim, a checkpoint and the last end will do.
SLOW = (Fault.HOLD_REQUEST, Fault.HOLD_REPLY, Fault.LOSE_REQUEST, Fault.LOSE_REPLY)
SERVERS = ("mysql", "postgresql")
CASES = [
    (name, number, fault)
    for name, verb in VERBS.items()
    for number in range(1, verb.commits + 1)
    for fault in Fault
    if LONG or fault not in SLOW or number in (1, 3, 6)
]


def cut_many(proxy: Proxy, chosen: random.Random) -> None:
    """Cut about half of the next COMMITs, at most four in a row: a database that is away for longer is another test."""
    row = 0
    for number in range(1, 100):
        row = row + 1 if row < 4 and chosen.random() < 0.5 else 0
        if row:
            proxy.at_commit(number, chosen.choice((Fault.CUT_REQUEST, Fault.CUT_REPLY)))


async def left(database: Database, engine: Engine, name: str) -> list[Any]:
    """Return all that a workflow left behind: its row, its history, what its steps did, its tombstones."""
    sql = "SELECT state, position, step_state, rev, run_token, request, owner FROM awfe_workflow WHERE name = :name"
    row = await database.execute(sql, {"name": name})
    graves = await database.execute("SELECT COUNT(*) FROM awfe_tombstone WHERE name = :name", {"name": name})
    calls = [call.removeprefix(name) for call in World.now.calls if call.startswith(f"{name} ")]
    # The code of a transactional step runs again, where its transaction is known not to have been committed.
    calls = list(dict.fromkeys(calls))
    rows = await paid(database)
    if not row:
        return [row, graves, calls, rows.count(name)]
    history = [(e.cause, e.step, e.attempt, e.before, e.after, e.changes) for e in await engine.history(name)]
    return [row, graves, calls, rows.count(name), (await engine.get(name)).context, history]


async def disturb(database: Database, strike: Strike, *acting: asyncio.Task[object]) -> None:
    """Release what is held, as soon as the client has asked again; see that it lands.

    What is sent as one request has locked nothing before it is there: who asks again is quicker, and it finds nothing;
    then it is released when who is `acting` has done it.
    """
    await strike.struck.wait()
    if strike.fault in HELD:
        waiting = asyncio.create_task(asked_again(database))
        await asyncio.wait({waiting, *acting}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.cancel():
            await waiting
        strike.release()
        await strike.done.wait()


async def all_given_back(engine: Engine) -> None:
    """Return when no connection is in use."""
    async with asyncio.timeout(10):
        while engine._database.engine.pool.checkedout():  # type: ignore[attr-defined]  # its pools can tell
            await asyncio.sleep(0.01)


@pytest.mark.databases(*SERVERS)
@pytest.mark.parametrize(
    ("name", "number", "fault"), CASES, ids=[f"{name}_{number}_{fault.name.lower()}" for name, number, fault in CASES]
)
async def test_a_commit_in_doubt_is_stored_once(  # noqa: PLR0917 - fixtures, which pytest gives by name
    database: Database,
    name: str,
    number: int,
    fault: Fault,
    turn: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = list(VERBS).index(name) + number + list(Fault).index(fault)
    if not LONG and (case + turn) % 2 == SERVERS.index(database.dialect):
        pytest.skip("its turn is on the other server; AWFE_TEST_LONG=1 tries both")
    verb = VERBS[name]
    before = asyncio.all_tasks()
    await make_table(database)
    if fault is Fault.LOSE_REQUEST:
        end_idle_transactions(monkeypatch)
    async with (
        Proxy(database.url) as proxy,
        Engine(database.url, **QUICK) as direct,
        Engine(proxy.url, **QUICK) as through,
    ):
        engines = Engines(through, direct)
        for workflow in ("calm", "struck"):
            await verb.arrange(direct, workflow)
        await verb.act(engines, "calm")
        give_up_soon(monkeypatch)
        strike = proxy.at_commit(number, fault)
        acting: asyncio.Task[object] = asyncio.ensure_future(verb.act(engines, "struck"))
        is_request = name == "run" or (name == "pay" and number != PAID)
        await disturb(database, strike, *[acting] * is_request)
        await acting
        strike.release()
        assert await left(database, direct, "struck") == await left(database, direct, "calm")
        assert await violations(database.url) == []
        await all_given_back(through)
    assert asyncio.all_tasks() == before
    assert await database.sessions(settle=5) == []
    said = [(record.levelname, record.name, record.getMessage()) for record in caplog.records]
    assert [line for line in said if "asyncio" in line or "ERROR" in line if FORGOTTEN not in line[2]] == []


@pytest.mark.databases(*SERVERS)
async def test_many_commits_in_doubt_are_stored_once(database: Database, seed: int) -> None:
    """About half of all COMMITs are cut, before or after, those of what is done again too."""
    await make_table(database)
    async with Proxy(database.url) as proxy, Engine(proxy.url, **QUICK) as engine:
        await complete(engine, "calm")
        cut_many(proxy, random.Random(seed))  # noqa: S311 - not a secret
        await complete(engine, "struck")
        assert await left(database, engine, "struck") == await left(database, engine, "calm")
        assert await violations(database.url) == []


@pytest.mark.databases(*SERVERS)
async def test_many_rows_whose_commits_are_in_doubt_are_stored_once(database: Database, seed: int) -> None:
    """The same for steps with transactions of their own."""
    await make_table(database)
    names = [f"row{n}" for n in range(20)]
    async with Proxy(database.url) as proxy, Engine(proxy.url, **QUICK) as engine:
        await engine.create_workflow("w", {}, [Pay(name, {name: 1}) for name in names])
        cut_many(proxy, random.Random(seed))  # noqa: S311 - not a secret
        workflow = await engine.run("w")
        assert await paid(database) == sorted(names)
        assert workflow.context == dict.fromkeys(names, 1)
        assert await violations(database.url) == []
