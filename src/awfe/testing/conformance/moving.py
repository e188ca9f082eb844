"""That what is committed is there for all, once, and that nothing else is."""

import asyncio
from secrets import token_hex
from typing import Final

from awfe.domain.records import Workflow
from awfe.errors import LockLost, StepError, WorkflowLocked, WorkflowNotFound
from awfe.testing.conformance.bed import Bed, check, execute, expect, raises
from awfe.testing.conformance.steps import Insert, keep, note
from awfe.testing.invariants import violations

_MANY: Final = 50
# As by an engine that has died since.
_TAKEN: Final = (
    "UPDATE awfe_workflow SET run_token = run_token + 1, run_id = :taker, owner = 'gone:1:0123456789abcdef'"
    " WHERE name = :name"
)


@check("reads may come from a replica that lags behind; give a URL by which awfe reads where it writes")
async def a_commit_is_seen_at_once(bed: Bed) -> None:
    """By another engine, and by connections that are new."""
    one, other = await bed.engine(), await bed.engine()
    names = [bed.name(f"{number:02}") for number in range(20)]
    try:
        for number, name in enumerate(names):
            await one.create_workflow(name, {}, [keep({})])
            await other.get(name)
            await other.update_context(name, {"number": number})
            seen = (await one.get(name)).context
            expect(seen == {"number": number}, f"a change that was committed was not seen: the context was {seen}")
    except WorkflowNotFound as error:
        msg = f"a workflow that was committed was not seen ({error})"
        raise AssertionError(msg) from error
    fresh = await bed.engine()
    listed = [summary.name for summary in await fresh.list(name_prefix=bed.prefix)]
    expect(listed == names, f"of {len(names)} workflows a new engine saw {len(listed)}")


@check("a frozen process that goes on can overwrite what others have done: don't use awfe on this database")
async def a_runner_that_was_taken_over_writes_nothing(bed: Bed) -> None:
    """Its lock is worth nothing: the token decides. Then the workflow goes on elsewhere."""
    one, other = await bed.engine(), await bed.engine()
    held = await bed.hold(one, on_interrupt="rerun")
    await execute(one, _TAKEN, taker=token_hex(16), name=held.name)
    held.gate.opened.set()
    await raises(LockLost, held.handle, "a runner that was taken over went on")
    left = await other.get(held.name)
    expect(left.context == {"saved": True}, f"a runner that was taken over has written: the context is {left.context}")
    expect(left.position == 1, "a runner that was taken over has ended its step")
    await other.run(held.name)
    calls = held.gate.calls
    expect(calls == ["hold", "hold", "note"], f"after a takeover the steps were {calls}")


@check("a step's own rows and its end can come apart: use no TransactionalStep here, or make its tables transactional")
async def a_transactional_step_commits_with_its_end(bed: Bed) -> None:
    """Both are there, or neither."""
    one, other = await bed.engine(), await bed.engine()
    table = f"awfe_conformance_{token_hex(8)}"
    count = f"SELECT COUNT(*) FROM {table}"  # noqa: S608 - a name of ours
    await execute(one, f"CREATE TABLE {table} (written INTEGER NOT NULL)")
    try:
        await one.create_workflow(bed.name("fails"), {}, [Insert(table, fails=True)])
        await raises(StepError, one.run(bed.name("fails")), "a transactional step that raised did not fail")
        ((rows,),) = await execute(other, count)
        expect(rows == 0, "a transactional step failed, and its rows were committed")
        await one.create_workflow(bed.name("ends"), {}, [Insert(table, fails=False)])
        workflow = await one.run(bed.name("ends"))
        ((rows,),) = await execute(other, count)
        expect(rows == 1, f"a transactional step ended, and {rows} of its rows were committed, not 1")
        expect(workflow.context == {"inserted": True}, "a transactional step ended, and its changes are not there")
    finally:
        await execute(one, f"DROP TABLE {table}")


@check("what was deleted can be run again: don't use awfe on this database")
async def a_deleted_workflow_stays_deleted(bed: Bed) -> None:
    """Also for an engine that has run it; one that is created under its name has nothing of it."""
    one, other = await bed.engine(), await bed.engine()
    name, gate = bed.name(), bed.gate()
    await one.create_workflow(name, {"old": 1}, [keep({"kept": 1}), note(gate.key)])
    await one.run(name)
    await other.delete(name)
    for engine in (one, other):
        await raises(WorkflowNotFound, engine.run(name), "a workflow was run after it had been deleted")
        await raises(WorkflowNotFound, engine.get(name), "a workflow was there after it had been deleted")
    await other.create_workflow(name, {"new": 1}, [note(gate.key, "new")])
    again = await one.run(name)
    expect(again.context == {"new": 1}, f"a new workflow had the context of a deleted one: {again.context}")
    expect(gate.calls == ["note", "new"], f"a new workflow ran the steps {gate.calls[1:]}")
    expect(not await violations(bed.url, [name]), "a new workflow has rows of a deleted one")


@check("under load steps may be lost or done twice: don't use awfe on this database")
async def fifty_workflows_run_at_once(bed: Bed) -> None:
    """Two engines run each of them at the same time, and each step is run once."""
    engines = [await bed.engine(), await bed.engine()]
    gates = {bed.name(f"{number:02}"): bed.gate() for number in range(_MANY)}
    numbers = ["1", "2", "3"]
    for name, gate in gates.items():
        await engines[0].create_workflow(name, {}, [note(gate.key, number) for number in numbers])
    runs = [engine.run(name) for name in gates for engine in engines]
    for ran in await asyncio.gather(*runs, return_exceptions=True):
        ended = isinstance(ran, (Workflow, WorkflowLocked))
        expect(ended, f"one of {_MANY} workflows that ran at once did not complete ({type(ran).__name__}: {ran})")
    for name, gate in gates.items():
        expect((await engines[0].wait(name)).state == "completed", f"one of {_MANY} workflows did not complete")
        expect(gate.calls == numbers, f"the steps of one of {_MANY} workflows were {gate.calls}, not {numbers}")
    found = await violations(bed.url, list(gates))
    expect(not found, f"the tables contradict themselves: {'; '.join(found[:3])}")
