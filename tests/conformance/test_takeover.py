"""What is left when a process is killed, and who takes it over."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from awfe import Engine, ErrorState, InvalidState, WorkflowState
from tests.conformance.conftest import OpenEngine
from tests.conformance.helpers import Start, create, each_kind_of_lock, freeze, killed, line, lines
from tests.databases import Database

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = each_kind_of_lock


async def test_after_kill_9_the_step_is_interrupted_and_nothing_is_rerun(
    engine: Engine, start: Start, tmp_path: Path, open_engine: OpenEngine, locks: str
) -> None:
    marks = tmp_path / "marks"
    await create(engine, marks)
    process = await start("run", "w")
    await lines(marks, 2)
    await killed(process)
    other = await open_engine()
    looks = 0
    async with asyncio.timeout(30):
        while not (recovered := await other.recover()).refused:
            looks += 1
    assert looks <= 2 or locks == "lease", "a server notices the death of a process in milliseconds"
    assert (recovered.started, recovered.refused) == ((), ("w",))
    workflow = await engine.get("w")
    assert (workflow.state, workflow.position, workflow.steps[1].state) == ("error", 2, "interrupted")
    assert workflow.context == {"begun": 1}, "what was checkpointed is kept, the rest is not"
    with pytest.raises(ErrorState):
        await engine.run("w")
    assert len(await lines(marks, 2)) == 2
    takeover = next(event for event in await engine.history("w") if event.cause == "takeover")
    assert takeover.actor == other._crew.owner
    assert f":{process.pid}:" in str(takeover.reason)
    Path(f"{marks}.two").touch()
    assert (await engine.restart("w")).state == "completed"
    assert [(text, attempt) for text, _, attempt in await lines(marks, 4)] == [
        ("one", "1"),
        ("two", "1"),
        ("two", "2"),
        ("three", "1"),
    ]


async def test_after_kill_9_a_step_that_is_declared_rerun_goes_on_elsewhere(
    engine: Engine, start: Start, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    await create(engine, marks, rerun=True)
    process = await start("run", "w")
    await lines(marks, 2)
    await killed(process)
    second = await start("recover", "w")
    assert await line(second) == "{'started': ('w',), 'refused': ()}"
    Path(f"{marks}.two").touch()
    assert await line(second) == "completed"
    done = await lines(marks, 4)
    assert [(text, int(pid), attempt) for text, pid, attempt in done] == [
        ("one", process.pid, "1"),
        ("two", process.pid, "1"),
        ("two", second.pid, "2"),
        ("three", second.pid, "1"),
    ]


@pytest.mark.parametrize("verb", ["run", "wait", "reset", "skip", "update_context", "delete", "pause", "stop"])
async def test_whichever_verb_notices_first_brings_it_to_rest_and_goes_on(
    engine: Engine, start: Start, tmp_path: Path, verb: str
) -> None:
    marks = tmp_path / "marks"
    await create(engine, marks)
    process = await start("run", "w")
    await lines(marks, 2)
    await killed(process)
    Path(f"{marks}.two").touch()
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "run": lambda: engine.run("w"),
        "wait": lambda: engine.wait("w", 30),
        "reset": lambda: engine.reset("w"),
        "skip": lambda: engine.skip("w"),
        "update_context": lambda: engine.update_context("w", {"x": 1}),
        "delete": lambda: engine.delete("w"),
        "pause": lambda: engine.pause("w"),
        "stop": lambda: engine.stop("w"),
    }
    refused = {"run": ErrorState, "pause": InvalidState, "stop": InvalidState}.get(verb)

    (head,) = await engine._reads.running()
    async with asyncio.timeout(30):
        # The server may hold the lock of the dead for a moment.
        while await engine._crew.locks.is_held(head.id, head.owner):
            await asyncio.sleep(0.01)
    if refused is None:
        await calls[verb]()
    else:
        with pytest.raises(refused):
            await calls[verb]()
    left = {w.name: w.state for w in await engine.list()}
    expected = {"reset": "paused", "skip": "paused"}.get(verb, "error")
    assert left == ({} if verb == "delete" else {"w": expected})


async def test_reading_never_brings_anything_to_rest(engine: Engine, start: Start, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    await create(engine, marks)
    process = await start("run", "w")
    await lines(marks, 2)
    await killed(process)
    before = await engine.get("w")
    await engine.list()
    await engine.history("w")
    await engine.stats()
    assert before.state == "running"
    assert await engine.get("w") == before


async def test_a_request_to_the_dead_is_honoured_by_who_takes_over(
    engine: Engine, start: Start, tmp_path: Path, database: Database
) -> None:
    for request, state in (("pause", "paused"), ("stop", "stopped")):
        marks = tmp_path / request
        await create(engine, marks, rerun=True, name=request)
        process = await start("run", request)
        await lines(marks, 2)
        await freeze(process, database)
        await {"pause": engine.pause, "stop": engine.stop}[request](request)
        await killed(process)
        async with asyncio.timeout(30):
            while (await engine.get(request)).state == "running":
                assert (await engine.recover()).started == ()
        workflow = await engine.get(request)
        assert (workflow.state, workflow.request) == (state, None)
    rows = await database.execute("SELECT COUNT(*) FROM awfe_workflow WHERE resumable")
    assert rows == [(0,)]


async def test_a_step_that_crashes_again_and_again_is_given_up(engine: Engine, start: Start, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    await create(engine, marks, rerun=True)
    process = await start("run", "w")
    for crashes in range(1, 5):
        await lines(marks, 1 + crashes)
        await killed(process)
        if crashes < 4:
            process = await start("recover", "w")
            assert await line(process) == "{'started': ('w',), 'refused': ()}"
    async with asyncio.timeout(30):
        while not (recovered := await engine.recover()).refused:
            pass
    assert recovered.refused == ("w",)
    assert (await engine.get("w")).steps[1].attempt == 4
    Path(f"{marks}.two").touch()
    assert (await engine.restart("w")).state == "completed"


async def test_two_engines_that_recover_at_once_run_each_once(
    engine: Engine, start: Start, tmp_path: Path, open_engine: OpenEngine
) -> None:
    marks = tmp_path / "marks"
    for n in range(5):
        await create(engine, marks, rerun=True, name=f"w{n}")
    process = await start("start", *(f"w{n}" for n in range(5)))
    await lines(marks, 10)
    await killed(process)
    Path(f"{marks}.two").touch()
    others = [engine, await open_engine()]
    async with asyncio.timeout(30):
        # The server may hold the locks of the dead for a moment.
        for head in await engine._reads.running():
            while await engine._crew.locks.is_held(head.id, head.owner):
                await asyncio.sleep(0.01)
    found = await asyncio.gather(*(each.recover() for each in others))
    assert {name for each in found for name in each.started} == {f"w{n}" for n in range(5)}
    async with asyncio.timeout(30):
        while (await engine.stats())[WorkflowState.COMPLETED] < 5:
            await asyncio.sleep(0.05)
    assert len(await lines(marks, 20)) == 20


async def test_recover_every_takes_up_what_others_left(
    open_engine: OpenEngine, start: Start, tmp_path: Path, engine: Engine
) -> None:
    marks = tmp_path / "marks"
    await create(engine, marks, rerun=True)
    process = await start("run", "w")
    await lines(marks, 2)
    await open_engine(recover_every=0.1)
    await killed(process)
    Path(f"{marks}.two").touch()
    await lines(marks, 4)
    assert (await engine.wait("w", 30)).state == "completed"
