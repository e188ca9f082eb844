"""What has a limit may come up to it, and a bit more is refused, on every database at the same point."""

import types
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from awfe import BaseStep, Context, ContextError, Engine, Handle, InvalidInput, StepError, WorkflowStopped
from tests.conformance.steps import Flaky, Hold, Note, World
from tests.conformance.test_nonsense_data import LIMIT, SPECIAL
from tests.databases import Database


@dataclass
class Fills(BaseStep, name="tests.nonsense.Fills"):
    """Sets a text of so many characters, and checkpoints if it is to."""

    size: int
    checkpoints: bool = False

    async def work(self, ctx: Context) -> None:
        """Fill."""
        ctx["a"] = "x" * self.size
        if self.checkpoints:
            await ctx.checkpoint()


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[Engine]:
    """Yield an engine."""
    World.now = World()
    async with Engine(database.url, shutdown_grace=0.1) as engine:
        yield engine


@pytest.mark.parametrize("limit", [1 << 10, LIMIT, 4 << 20])
async def test_a_context_may_take_all_of_its_limit_and_no_byte_more(database: Database, limit: int) -> None:
    fits = limit - len("a") - len('""') - 4
    async with Engine(database.url, max_context_bytes=limit) as engine:
        for name, size in (("fits", fits), ("large", fits + 1)):
            for checkpoints in (False, True):
                await engine.create_workflow(f"{name} {checkpoints}", {}, [Fills(size, checkpoints)])
        for checkpoints in (False, True):
            assert len((await engine.run(f"fits {checkpoints}")).context["a"]) == fits
            with pytest.raises(StepError, match=f"takes {limit + 1} bytes, more than max_context_bytes={limit}"):
                await engine.run(f"large {checkpoints}")
            assert (await engine.get(f"large {checkpoints}")).context == {}
        values = {"a": "x" * (fits + 1)}
        for verb in (engine.skip, engine.reset):
            with pytest.raises(ContextError, match="more than max_context_bytes"):
                await verb("large True", context=values)
        with pytest.raises(ContextError, match="more than max_context_bytes"):
            await engine.create_workflow("w", values, [Note("one")])
        assert len(await engine.list()) == 4
        await engine.create_workflow("w", {"a": "x" * fits}, [Note("one")])
        with pytest.raises(ContextError, match="more than max_context_bytes"):
            await engine.update_context("w", {"b": None})
        await engine.update_context("w", {"a": "", "b": "x" * (fits - 7)})
        assert (await engine.update_context("w", {"b": 1}, unset=["a"])).context == {"b": 1}


def made(length: int) -> type[BaseStep]:
    """Return a class with a name of so many characters, saved under another."""

    async def work(_self: BaseStep, ctx: Context) -> None:
        ctx["ran"] = True

    body = {"work": work, "__module__": __name__, "__qualname__": f"Long{length}"}
    return types.new_class(
        "L" * length, (BaseStep,), {"name": f"{length}{'n' * 252}"}, lambda namespace: namespace.update(body)
    )


async def test_long_names_are_kept_or_refused(engine: Engine) -> None:
    name = "\N{GRINNING FACE}" * 200
    await engine.create_workflow(name, {}, [made(255)])
    workflow = await engine.run(name)
    assert (workflow.name, workflow.context, workflow.state) == (name, {"ran": True}, "completed")
    assert (workflow.steps[0].name, workflow.steps[0].impl) == ("L" * 255, "255" + "n" * 252)
    with pytest.raises(InvalidInput, match="200"):
        await engine.create_workflow(name + "x", {}, [Note("one")])
    assert [summary.name for summary in await engine.list(name_prefix=name)] == [name]


async def test_a_class_may_have_any_name(engine: Engine) -> None:
    await engine.create_workflow("w", {}, [made(300)])
    assert len((await engine.get("w")).steps[0].name) <= 255
    assert (await engine.run("w")).context == {"ran": True}


async def test_words_of_people_are_kept_as_far_as_they_fit(engine: Engine) -> None:
    await engine.create_workflow("w", {}, [Flaky("one", 1)])
    words = {"short": "why", "long": "\N{GRINNING FACE}" * LIMIT, "wild": SPECIAL + "\ud800"}
    for actor in words.values():
        for reason in words.values():
            await engine.update_context("w", {"a": 1}, actor=actor, reason=reason)
    last = (await engine.history("w"))[-9:]
    assert {len(event.actor or "") for event in last if event.actor != "why"} <= set(range(1, 256))
    assert all(len(event.reason or "") <= 4_096 for event in last)
    assert "\\x00" in (last[-1].actor or "")
    assert "\\ud800" in (last[-1].reason or "")


@pytest.mark.parametrize("grace", [0, 1e-300, 366 * 86_400])
async def test_a_grace_may_be_any_number_of_seconds(engine: Engine, grace: float) -> None:
    handle = await held(engine)
    await engine.stop("w", grace)
    with pytest.raises(WorkflowStopped):
        await handle
    assert (await engine.get("w")).state == "stopped"


async def test_seconds_that_no_timer_takes_are_refused(engine: Engine) -> None:
    await held(engine)
    for seconds in (10**400, 1.7976931348623157e308, float("inf"), float("nan"), 366 * 86_400 + 1, -1e-300):
        with pytest.raises(InvalidInput, match="give seconds"):
            await engine.wait("w", seconds)
        with pytest.raises(InvalidInput, match="give seconds"):
            await engine.stop("w", seconds)
    assert (await engine.get("w")).request is None


async def held(engine: Engine) -> Handle:
    """Run a workflow whose step waits, and return when it does."""
    await engine.create_workflow("w", {}, [Hold("one")])
    handle = await engine.start("w")
    await World.now.entered["one"].wait()
    return handle
