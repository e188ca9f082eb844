"""ForEach in an engine: what is done is saved, whatever ends the run."""

import asyncio
from pathlib import Path

import pytest

from awfe import BaseStep, Context, Engine, StepError, StepNotFound, WorkflowStopped
from awfe.steps import ForEach
from tests.conformance.helpers import Start, killed, lines
from tests.conformance.steps import Hold, Note, World
from tests.conformance.worker import ItemUntilThere
from tests.databases import Database


class Measure(BaseStep, name="tests.Measure"):
    """Notes its item, and fails where it is told to."""

    async def work(self, ctx: Context) -> None:
        """Measure the length of the item."""
        item = ctx["item"]
        World.now.calls.append(item)
        World.now.keys.append(ctx.step.key)
        if error := World.now.failing.get(item):
            raise error
        ctx["length"] = len(item)


async def test_a_restart_does_what_is_left(engine: Engine, world: World) -> None:
    items = ["a", "bb", "ccc", "dddd"]
    world.failing["bb"] = ValueError("no")
    await engine.create_workflow("w", {"items": items}, [ForEach("items", Measure, save_as="sizes"), Note("after")])
    with pytest.raises(StepError, match="1 of 4 items failed, with max_failures=0, 2 not begun") as raised:
        await engine.run("w")
    assert isinstance(raised.value.__cause__, ExceptionGroup)
    workflow = await engine.get("w")
    assert workflow.context == {"items": items, "sizes[a]": {"length": 1}}
    assert workflow.steps[0].error is not None
    assert "bb: ValueError: no" in workflow.steps[0].error.message
    world.failing.clear()
    workflow = await engine.restart("w")
    assert workflow.context == {"items": items, "sizes": [{"length": n} for n in (1, 2, 3, 4)]}
    assert world.calls == ["a", "bb", "bb", "ccc", "dddd", "after"]
    assert world.keys[1] == world.keys[2]  # the same for all attempts of an item


async def test_from_the_beginning_again(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [ForEach(["a", "b"], Measure, save_as="sizes")])
    await engine.run("w")
    workflow = await engine.restart("w", from_step=1)
    assert world.calls == ["a", "b"] * 2
    assert len(set(world.keys)) == 4
    assert workflow.context == {"sizes": [{"length": 1}] * 2}


async def test_many_at_once_are_saved_one_by_one(engine: Engine, world: World) -> None:
    items = [f"{n:03}" for n in range(100)]
    world.failing["077"] = ValueError("no")
    await engine.create_workflow("w", {}, [ForEach(items, Measure, limit=10, max_failures="1%", save_as="sizes")])
    workflow = await engine.run("w")
    assert sorted(world.calls) == items
    assert workflow.context["sizes"] == [{"length": 3}] * 77 + [None] + [{"length": 3}] * 22
    assert workflow.context["sizes_failed"] == [{"item": "077", "error": "ValueError: no"}]


async def test_a_stop_ends_what_runs_and_keeps_what_is_done(engine: Engine, world: World) -> None:
    await engine.create_workflow("w", {}, [ForEach(["a", "b", "c"], Hold("inside"), save_as="out")])
    handle = await engine.start("w")
    await world.entered["inside"].wait()
    await engine.stop("w")
    with pytest.raises(WorkflowStopped):
        await handle
    assert world.cleaned == ["inside"]
    world.gates["inside"].set()
    assert (await engine.restart("w")).state == "completed"
    assert world.calls == ["inside"] * 4


async def test_a_step_inside_that_is_not_known_is_found_out_before_anything_runs(
    engine: Engine, database: Database, world: World
) -> None:
    await engine.create_workflow("w", {}, [Note("one"), ForEach(["a"], Measure)])
    await database.execute("UPDATE awfe_step SET args = REPLACE(args, 'tests.Measure', 'tests.Measured')")
    with pytest.raises(StepNotFound, match=r"did you mean 'tests\.Measure'"):
        await engine.run("w")
    assert world.calls == []
    assert (await engine.get("w")).state == "pending"


@pytest.mark.parametrize("rerun", [False, True])
async def test_killed_in_the_middle_it_goes_on_with_the_rest(
    engine: Engine, start: Start, tmp_path: Path, *, rerun: bool
) -> None:
    marks = tmp_path / "marks"
    items = ["a", "b", "wait", "wait too", "c", "d"]
    step = ForEach(items, ItemUntilThere(str(marks)), limit=2, save_as="out")
    await engine.create_workflow("w", {}, [step.using(on_interrupt="rerun") if rerun else step])
    process = await start("run", "w")
    begun = await lines(marks, 4)
    # "a" and "b" are saved before the places that they had are given to others.
    await killed(process)
    for item in ("wait", "wait too"):
        Path(f"{marks}.{item}").touch()
    if rerun:
        async with asyncio.timeout(60):
            while not (await engine.recover()).started:
                await asyncio.sleep(0.05)
        workflow = await engine.wait("w")
    else:
        assert (await engine.wait("w")).state == "error"
        workflow = await engine.restart("w")
    assert workflow.state == "completed"
    done = await lines(marks, 8)
    names = [" ".join(words[:-1]) for words in done]
    assert sorted(names[4:]) == ["c", "d", "wait", "wait too"]
    keys = {" ".join(words[:-1]): words[-1] for words in begun}
    assert {" ".join(words[:-1]): words[-1] for words in done} | keys == {" ".join(w[:-1]): w[-1] for w in done}
    assert [result["begun"] for result in workflow.context["out"]] == [1, 1, 2, 2, 1, 1]


class Claim(BaseStep, name="tests.Claim"):
    """Can be undone, item by item."""

    async def work(self, ctx: Context) -> None:
        """Claim the item."""
        if error := World.now.failing.get(ctx["item"]):
            raise error
        World.now.calls.append(ctx["item"])
        ctx["claim"] = f"claim of {ctx['item']}"

    async def undo(self, ctx: Context) -> None:
        """Give it back; the half of that is saved."""
        World.now.calls.append(f"{ctx.get('claim')}{' again' * ('half' in ctx)}")
        ctx["half"] = True
        await ctx.checkpoint()
        if error := World.now.failing.get(f"undo {ctx['item']}"):
            raise error


@pytest.mark.parametrize("save_as", [None, "claims"])
async def test_a_rollback_undoes_the_items_that_are_done(engine: Engine, world: World, save_as: str | None) -> None:
    world.failing["c"] = ValueError("no")
    each = ForEach("items", Claim, limit=2, max_failures=1, save_as=save_as)
    await engine.create_workflow("w", {"items": ["a", "b", "c", "d"]}, [each, Note("after", {"items": []})])
    await engine.run("w")
    world.calls.clear()
    world.failing["undo b"] = ValueError("not now")
    with pytest.raises(StepError, match=r"failed to undo step 1 \(ForEach\): ValueError: not now"):
        await engine.rollback("w")
    assert world.calls == ["claim of d", "claim of b"]
    world.failing.clear()
    workflow = await engine.rollback("w")
    assert workflow.state == "rolled_back"
    assert world.calls == ["claim of d", "claim of b", "claim of b again", "claim of a"]
    assert {"half", "item", "claim", "ForEach@1 done"} & workflow.context.keys() == set()


async def test_of_one_that_failed_what_is_done_is_undone_when_asked(engine: Engine, world: World) -> None:
    world.failing["c"] = ValueError("no")
    await engine.create_workflow("w", {"items": ["a", "b", "c", "d"]}, [ForEach("items", Claim)])
    with pytest.raises(StepError):
        await engine.run("w")
    workflow = await engine.rollback("w", include_current=True)
    assert (workflow.state, workflow.context) == ("rolled_back", {"items": ["a", "b", "c", "d"]})
    assert world.calls == ["a", "b", "claim of b", "claim of a"]


async def test_what_was_done_by_hand_is_undone_too(engine: Engine, world: World) -> None:
    world.failing["b"] = ValueError("no")
    await engine.create_workflow("w", {}, [ForEach(["a", "b"], Claim)])
    with pytest.raises(StepError):
        await engine.run("w")
    await engine.update_context("w", {"ForEach@1[b]": True}, reason="by hand")
    await engine.restart("w")
    assert (await engine.rollback("w")).context == {}
    assert world.calls == ["a", "None", "claim of a"]


async def test_one_inside_of_another_is_undone_too(engine: Engine, world: World) -> None:
    inner = ForEach("row", Claim)
    await engine.create_workflow("w", {}, [ForEach([["a", "b"], ["c"]], inner, as_="row")])
    await engine.run("w")
    assert (await engine.rollback("w")).state == "rolled_back"
    assert world.calls == ["a", "b", "c", "claim of c", "claim of b", "claim of a"]


async def test_a_rollback_passes_over_one_whose_step_has_nothing_to_undo(engine: Engine) -> None:
    await engine.create_workflow("w", {}, [ForEach(["a"], Measure)])
    assert (await engine.run("w")).context == {}
    assert (await engine.rollback("w")).steps[0].state == "completed"
