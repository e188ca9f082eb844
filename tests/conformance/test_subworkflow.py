"""A step that is a workflow of its own: visible, steerable, and its end continues the parent."""

import asyncio
from hashlib import blake2b
from pathlib import Path

import pytest

from awfe import Engine, StepError, WorkflowState, WorkflowStopped
from awfe.domain.moves import By
from awfe.execution.result import Result
from awfe.steps import SubWorkflow
from tests.conformance.conftest import OpenEngine
from tests.conformance.helpers import Start, killed, waits
from tests.conformance.steps import Hold, Note, World
from tests.conformance.waiting_steps import Await, Undoable
from tests.conformance.worker import Mark
from tests.databases import Database


async def test_its_end_continues_the_parent(engine: Engine, world: World) -> None:
    child = SubWorkflow("deploy {env}", [Note("one", {"x": 1}), Note("two")], save_as="result")
    await engine.create_workflow("p", {"env": "test"}, [child, Note("after")])
    workflow = await engine.run("p")
    assert workflow.context == {"env": "test", "result": {"env": "test", "x": 1}}
    assert world.calls == ["one", "two", "after"]
    assert (await engine.get("deploy test")).state == "completed"
    assert (await engine.history("deploy test"))[0].reason.startswith("step 1 of 'p'")  # type: ignore[union-attr]  # it has one


async def test_with_one_place_parent_and_child_take_turns(open_engine: OpenEngine, world: World) -> None:
    engine = await open_engine(max_running=1)
    inner = SubWorkflow("grandchild", [Undoable("deep")])
    await engine.create_workflow("p", {}, [SubWorkflow("child", [inner, Undoable("mid")]), Undoable("top")])
    assert (await engine.run("p")).state == "completed"
    assert (await engine.rollback("p")).state == "rolled_back"
    assert world.calls == ["deep", "mid", "top", "undo top", "undo mid", "undo deep"]
    assert (await engine.stats())[WorkflowState.ROLLED_BACK] == 3


async def test_a_child_that_could_not_begin_is_begun_again(
    engine: Engine, open_engine: OpenEngine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("awfe.steps.subworkflow._BEGUN", 0.2)
    closing = await open_engine(max_running=1, shutdown_grace=0)
    await engine.create_workflow("busy", {}, [Hold("hold")])
    await engine.create_workflow("p", {}, [SubWorkflow("c", [Note("one")])])
    await closing.start("p")
    # It has its turn before the child.
    await closing.start("busy")
    await world.entered["hold"].wait()
    await waits(engine, "p")
    await closing.close()
    assert (await engine.get("c")).state == "pending"
    async with asyncio.timeout(30):
        while "p" not in (await engine.recover()).started:
            await asyncio.sleep(0.05)
    assert (await engine.wait("p")).state == "completed"
    assert world.calls == ["hold", "one"]


async def test_a_child_that_fails_is_mended_in_place(engine: Engine, world: World) -> None:
    world.failing["one"] = ValueError("no")
    await engine.create_workflow("p", {}, [SubWorkflow("c", [Note("one"), Note("two")], context={"a": 1})])
    with pytest.raises(StepError, match=r"'c' is error at step 1 \(Note\): ValueError: no"):
        await engine.run("p")
    world.failing.clear()
    assert (await engine.restart("c")).context == {"a": 1}
    assert (await engine.restart("p")).state == "completed"
    assert world.calls == ["one", "one", "two"]


async def test_a_stop_reaches_the_child(engine: Engine, open_engine: OpenEngine) -> None:
    other = await open_engine()
    await engine.create_workflow("p", {}, [SubWorkflow("c", [Await("one")])])
    handle = await engine.start("p")
    await waits(engine, "p")
    await waits(engine, "c")
    await other.stop("p")
    with pytest.raises(WorkflowStopped):
        await handle
    assert (await engine.get("c")).state == "stopped"


async def test_a_stop_reaches_a_child_that_runs(engine: Engine, open_engine: OpenEngine, world: World) -> None:
    other = await open_engine()
    await engine.create_workflow("p", {}, [SubWorkflow("c", [SubWorkflow("g", [Hold("deep")])])])
    handle = await engine.start("p")
    await world.entered["deep"].wait()
    async with asyncio.timeout(30):
        while {(await engine.get(name)).state for name in ("p", "c")} != {WorkflowState.WAITING}:
            await asyncio.sleep(0.01)
    await other.stop("p", actor="ada", reason="enough")
    with pytest.raises(WorkflowStopped):
        await handle
    for name in ("c", "g"):
        assert (await engine.wait(name)).state == "stopped"
    assert world.cleaned == ["deep"]


async def test_an_undo_that_fails_in_a_child_fails_the_rollback_of_its_parent(
    engine: Engine, open_engine: OpenEngine, world: World
) -> None:
    other = await open_engine()
    steps = [Undoable("top"), SubWorkflow("c", [Undoable("low"), Undoable("deep")])]
    await engine.create_workflow("p", {}, steps)
    await engine.run("p")
    world.failing["undo low"] = ValueError("no")
    with pytest.raises(StepError, match=r"'p' failed to undo step 2 \(SubWorkflow\): .*'c' failed to undo step 1"):
        await other.rollback("p")
    assert [(await engine.get(name)).state for name in ("p", "c")] == ["error", "error"]
    world.failing.clear()
    assert (await other.rollback("p")).state == "rolled_back"
    assert (await engine.get("c")).state == "rolled_back"
    assert world.calls[3:] == ["undo deep", "undo low", "undo low", "undo top"]


async def test_a_reset_from_its_step_begins_another(engine: Engine, world: World) -> None:
    await engine.create_workflow("p", {}, [Note("one"), SubWorkflow("c", [Note("two")])])
    await engine.run("p")
    assert (await engine.restart("p", from_step=2)).state == "completed"
    assert world.calls == ["one", "two", "two"]
    names = [summary.name for summary in await engine.list()]
    assert (len(names), names[0], names[1].startswith("c ")) == (3, "c", True)


async def test_a_name_that_belongs_to_others_is_refused(engine: Engine) -> None:
    await engine.create_workflow("c", {}, [Note("other")])
    await engine.create_workflow("p", {}, [SubWorkflow("c", [Note("one")])])
    with pytest.raises(StepError, match="which is no part of 'p'"):
        await engine.run("p")


async def test_both_survive_kill_9(engine: Engine, start: Start, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    child = SubWorkflow("c", [Mark(str(marks), "one"), Await("two"), Mark(str(marks), "three")])
    await engine.create_workflow("p", {}, [child, Mark(str(marks), "four")])
    process = await start("nap", "p")
    async with asyncio.timeout(60):
        while (await engine.stats())[WorkflowState.WAITING] != 2:
            await asyncio.sleep(0.01)
    await killed(process)
    await engine.signal("c", "go", 1)
    async with asyncio.timeout(60):
        while (await engine.get("p")).state != "completed":
            assert (await engine.recover()).refused == ()
            await asyncio.sleep(0.02)
    assert [text.split()[0] for text in marks.read_text().splitlines()] == ["one", "three", "four"]


async def test_a_child_that_others_complete_before_it_begins_is_taken_as_it_is(
    engine: Engine, open_engine: OpenEngine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await open_engine()
    real = engine._steering.start

    async def late(name: str, by: By) -> Result | None:
        if name == "c":
            await other.run(name)
        return await real(name, by)

    monkeypatch.setattr(engine._steering, "start", late)
    await engine.create_workflow("p", {}, [SubWorkflow("c", [Note("one", {"x": 1})], save_as="result")])
    assert (await engine.run("p")).context == {"result": {"x": 1}}
    assert world.calls == ["one"]


async def test_a_child_that_was_rolled_back_already_is_passed_over(engine: Engine, world: World) -> None:
    await engine.create_workflow("p", {}, [Undoable("top"), SubWorkflow("c", [Undoable("deep")])])
    await engine.run("p")
    await engine.rollback("c")
    assert (await engine.rollback("p")).state == "rolled_back"
    assert world.calls == ["top", "deep", "undo deep", "undo top"]


async def test_a_name_that_another_step_has_taken_on_purpose_is_refused(engine: Engine, database: Database) -> None:
    """The third step, whose own name is taken, falls back to one with its key in it: the second has guessed that."""
    steps = [SubWorkflow("c", [Note("one")]), SubWorkflow("{guess}", [Note("two")]), SubWorkflow("c", [Note("three")])]
    await engine.create_workflow("p", {}, steps)
    ((number,),) = await database.execute("SELECT id FROM awfe_workflow")
    key = blake2b(f"{engine._crew.instance}:{number}:3:0".encode(), digest_size=16).hexdigest()
    await engine.update_context("p", {"guess": f"c {key[:8]}"})
    with pytest.raises(StepError, match=r"there is a workflow 'c' already, of another step of 'p'"):
        await engine.run("p")
