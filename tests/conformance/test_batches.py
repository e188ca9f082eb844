"""Several workflows in one transaction: each move keeps its own fence, and gets its own answer."""

from collections.abc import Callable

import pytest

from awfe import Engine, Handle, LockLost, StoreUnavailable, WorkflowPaused
from awfe.testing.calls import Call, Calls
from awfe.testing.faults import Fault, Faults
from awfe.testing.invariants import violations
from tests.conformance.conftest import QUICK
from tests.conformance.steps import Hold, Note, World
from tests.databases import Database

MANY = 10
ODD = "w4"
NAMES = [f"w{n}" for n in range(MANY)]
GOOD = [name for name in NAMES if name != ODD]
# Nothing but the moves of the test calls the database.
ALONE = QUICK | {"poll_interval": 600, "lock_heartbeat": 14.0}


async def held(engine: Engine, world: World, names: list[str] = NAMES) -> dict[str, Handle]:
    """Run workflows whose first step waits, each, for one and the same gate."""
    for name in names:
        world.gates[name] = world.gates["all"]
        await engine.create_workflow(name, {}, [Hold(name, {"n": name}), Note("after")])
    handles = {name: await engine.start(name) for name in names}
    for name in names:
        await world.entered[name].wait()
    return handles


async def completed(handles: dict[str, Handle], names: list[str]) -> None:
    """See that these have done each step once."""
    for name in names:
        workflow = await handles[name]
        assert workflow.state == "completed"
        assert workflow.context == {"n": name}
        assert [step.attempt for step in workflow.steps] == [1, 1]


def kinds(calls: Calls) -> list[str]:
    """Return what was called: statements by their first word."""
    return [call.statement.split(maxsplit=1)[0] if call.statement else call.kind for call in calls.log]


async def open_watched(database: Database) -> tuple[Engine, Calls]:
    """Return an engine whose calls are seen."""
    engine = Engine(database.url, **(ALONE | {"locks": "lease"}))
    calls = Calls(engine)
    await engine.open()
    return engine, calls


async def test_what_is_ready_at_the_same_time_is_one_transaction(database: Database, world: World) -> None:
    engine, calls = await open_watched(database)
    async with engine:
        handles = await held(engine, world)
        calls.clear()
        world.gates["all"].set()
        await completed(handles, NAMES)
        told = kinds(calls)
        ends = told[: told.index("SELECT")] if "SELECT" in told else told
        # Ten attempts end and ten begin, then ten end with their workflows.
        assert ends.count("commit") <= 4
        assert ends.count("UPDATE") == ends.count("INSERT") == ends.count("commit")
        assert "rollback" not in ends
    assert await violations(database.url) == []


@pytest.mark.parametrize("workflows", [1, 100])
async def test_commits_follow_the_steps_and_not_the_workflows(database: Database, world: World, workflows: int) -> None:
    steps = 6
    engine = Engine(database.url, **(ALONE | {"locks": "lease", "max_running": workflows}))
    calls = Calls(engine)
    async with engine:
        handles = []
        for n in range(workflows):
            world.gates[f"w{n}"] = world.gates["all"]
            await engine.create_workflow(f"w{n}", {}, [Hold(f"w{n}"), *(Note("note") for _ in range(steps - 1))])
            handles.append(await engine.start(f"w{n}"))
        for n in range(workflows):
            await world.entered[f"w{n}"].wait()
        calls.clear()
        world.gates["all"].set()
        for handle in handles:
            assert (await handle).state == "completed"
        told = kinds(calls)
        assert told.count("commit") == steps if workflows == 1 else told.count("commit") <= 4 * steps
        heads = told.count("UPDATE") + told.count("WITH")
        assert heads == told.count("commit"), "one statement for the heads of a batch"


# What each column of the fence tells: a takeover, and one after which a replica gave its token out again.
TAKEN = {"token": "run_token = run_token + 1", "run_id": "run_id = 'another'"}


@pytest.mark.parametrize("by", TAKEN)
async def test_one_that_is_fenced_takes_none_of_the_others_with_it(database: Database, world: World, by: str) -> None:
    engine, calls = await open_watched(database)
    async with engine:
        handles = await held(engine, world)
        await database.execute(f"UPDATE awfe_workflow SET {TAKEN[by]} WHERE name = :odd", {"odd": ODD})
        calls.clear()
        world.gates["all"].set()
        await completed(handles, GOOD)
        with pytest.raises(LockLost):
            await handles[ODD]
        told = kinds(calls)
        assert told[: told.index("commit")].count("rollback") == 1, "the batch, then each with an answer of its own"
        assert told.count("commit") <= 4
    assert await violations(database.url, GOOD) == []
    ((rev, attempts),) = await database.execute(
        "SELECT rev, (SELECT COUNT(*) FROM awfe_attempt a WHERE a.workflow_id = w.id) "
        "FROM awfe_workflow w WHERE name = :odd",
        {"odd": ODD},
    )
    assert (rev, attempts) == (1, 0), "it has the revision of its claim"


async def test_one_that_is_deleted_is_not_made_again(database: Database, world: World) -> None:
    async with Engine(database.url, **ALONE) as engine:
        handles = await held(engine, world)
        await database.execute("DELETE FROM awfe_workflow WHERE name = :odd", {"odd": ODD})
        world.gates["all"].set()
        await completed(handles, GOOD)
        with pytest.raises(LockLost):
            await handles[ODD]
    assert await database.execute("SELECT 1 FROM awfe_workflow WHERE name = :odd", {"odd": ODD}) == []


async def test_one_of_which_something_is_asked_is_decided_again_alone(database: Database, world: World) -> None:
    async with Engine(database.url, **ALONE) as engine:
        handles = await held(engine, world)
        await database.execute("UPDATE awfe_workflow SET request = 'pause' WHERE name = :odd", {"odd": ODD})
        world.gates["all"].set()
        await completed(handles, GOOD)
        with pytest.raises(WorkflowPaused):
            await handles[ODD]
        assert (await engine.run(ODD)).state == "completed"
    assert sorted(world.calls) == sorted([*NAMES, *(["after"] * MANY)])


async def test_one_that_the_database_refuses_fails_alone(database: Database, world: World) -> None:
    async with Engine(database.url, **ALONE) as engine:
        handles = await held(engine, world)
        await database.execute(
            "INSERT INTO awfe_attempt (workflow_id, position, attempt, rev, run_token, outcome, before, after, "
            "started_at, ended_at, output) SELECT id, 1, 1, 0, 0, 'error', 'running', 'running', "
            "created_at, created_at, '' FROM awfe_workflow WHERE name = :odd".replace(
                "before, after", "`before`, after" if database.dialect == "mysql" else "before, after"
            ),
            {"odd": ODD},
        )
        world.gates["all"].set()
        await completed(handles, GOOD)
        with pytest.raises(StoreUnavailable):
            await handles[ODD]
    assert await violations(database.url, GOOD) == []


def at_commit(calls: Calls, act: Callable[[Call], object]) -> None:
    """Do something before the next COMMIT."""

    def before(call: Call) -> None:
        if call.kind == "commit":
            calls.before = None
            act(call)

    calls.before = before


@pytest.mark.parametrize(
    "fault", [Fault.LOST_BEFORE, Fault.LOST_AFTER, Fault.TIMEOUT_BEFORE, Fault.TIMEOUT_AFTER, Fault.DEADLOCK]
)
async def test_each_is_decided_by_itself_when_the_commit_of_all_is_in_doubt(
    database: Database, world: World, fault: Fault
) -> None:
    if not fault.befalls(database.dialect, "commit"):
        pytest.skip("a file is not lost")
    engine, calls = await open_watched(database)
    async with engine:
        handles = await held(engine, world)
        struck: list[Faults] = []

        def strike(call: Call) -> None:
            struck.append(Faults(calls, fault, call.number))
            assert calls.before is not None
            calls.before(call)

        calls.clear()
        at_commit(calls, strike)
        world.gates["all"].set()
        await completed(handles, NAMES)
        (faults,) = struck
        assert faults.hits == 1
    assert sorted(world.calls) == sorted([*NAMES, *(["after"] * MANY)])
    assert await violations(database.url) == []
