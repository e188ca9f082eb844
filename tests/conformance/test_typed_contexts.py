"""Steps whose context has a type: nothing that does not fit is worked on, and nothing that does not fit is saved."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NotRequired, TypedDict

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from awfe import (
    BaseStep,
    Context,
    ContextError,
    Engine,
    Retry,
    StepError,
    TransactionalStep,
    WorkflowNotFound,
    step,
)
from awfe.steps import ForEach
from awfe.testing import assert_workflow, violations
from tests.conformance.steps import Note, World
from tests.conformance.transactional_steps import PAY, make_table, paid
from tests.databases import Database

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


class Servers(TypedDict):
    """What the steps share."""

    servers: list[str]
    stopped: NotRequired[dict[str, datetime]]


class Item(msgspec.Struct):
    """What a step for an item sees."""

    item: str
    length: int = 0


@dataclass
class Stop(BaseStep[Servers]):
    """Notes when it has stopped each."""

    before: dict[str, Any] = field(default_factory=dict)
    wrong: Any = None

    async def work(self, ctx: Context[Servers]) -> None:
        """Stop them."""
        World.now.calls.append(f"stop {ctx.step.attempt}")
        ctx.typed["stopped"] = dict.fromkeys(ctx.typed["servers"], NOON)
        if self.before:
            ctx.update(self.before)
            await ctx.checkpoint()
        if self.wrong is not None:
            ctx.typed["servers"] = self.wrong

    async def undo(self, ctx: Context[Servers]) -> None:
        """Start them again."""
        World.now.calls.append(f"start {sorted(ctx.typed.get('stopped', {}))}")
        del ctx.typed["stopped"]


STOPPED = {"a": "2026-01-02T12:00:00Z"}


async def test_values_come_back_as_the_type_has_them(engine: Engine, database: Database, world: World) -> None:
    @step
    async def look(ctx: Context[Servers]) -> None:
        assert ctx.typed == {"servers": ["a"], "stopped": {"a": NOON}}

    await engine.create_workflow("w", {"servers": ["a"], "other": 1}, [Stop, look()])
    workflow = await engine.run("w")
    assert_workflow(workflow, "completed", context={"servers": ["a"], "other": 1, "stopped": STOPPED})
    assert [each.changes.set for each in workflow.steps] == [{"stopped": STOPPED}, {}]
    assert (await engine.rollback("w")).context == {"servers": ["a"], "other": 1}
    assert world.calls == ["stop 1", "start ['a']"]
    assert await violations(database.url) == []


async def test_a_workflow_whose_first_step_could_not_begin_is_not_created(engine: Engine) -> None:
    with pytest.raises(ContextError, match=r"context\['servers'\]\[0\]: expected `str`, got `int`, says Servers"):
        await engine.create_workflow("w", {"servers": [1]}, [Stop, Note("x")])
    with pytest.raises(WorkflowNotFound):
        await engine.get("w")


async def test_a_step_does_not_begin_with_what_does_not_fit(engine: Engine, world: World) -> None:
    steps = [Note("first", {"servers": "a"}), Stop()]
    await engine.create_workflow("w", {}, steps)
    with pytest.raises(StepError, match=r"context\['servers'\]: expected `array`, got `str`, says Servers") as raised:
        await engine.run("w")
    assert isinstance(raised.value.__cause__, ContextError)
    assert world.calls == ["first"]
    await engine.update_context("w", {"servers": ["a"]}, actor="ann")
    assert_workflow(await engine.restart("w"), "completed", context={"servers": ["a"], "stopped": STOPPED})
    assert world.calls == ["first", "stop 2"]


@pytest.mark.parametrize("wrong", ["a", [1]])
async def test_nothing_is_saved_of_a_change_that_does_not_fit(engine: Engine, wrong: Any) -> None:
    await engine.create_workflow("w", {"servers": ["a"]}, [Stop(before={"n": 1}, wrong=wrong)])
    with pytest.raises(StepError, match=r"context\['servers'\].*, says Servers"):
        await engine.run("w")
    assert_workflow(await engine.get("w"), "error", context={"servers": ["a"], "n": 1, "stopped": STOPPED})


async def test_a_checkpoint_refuses_what_does_not_fit(engine: Engine, world: World) -> None:
    await engine.create_workflow(
        "w", {"servers": ["a"]}, [Stop(before={"servers": None}).using(retry=Retry(attempts=2))]
    )
    with pytest.raises(StepError, match=r"context\['servers'\]: expected `array`, got `null`, says Servers"):
        await engine.run("w")
    assert (await engine.get("w")).context == {"servers": ["a"]}
    assert world.calls == ["stop 1", "stop 2"]


async def test_hooks_see_what_the_step_has_changed(engine: Engine) -> None:
    @engine.before_step
    async def set_up(ctx: Context) -> None:
        ctx["servers"] = ["a", "b"]

    @engine.after_step
    async def count(ctx: Context) -> None:
        ctx["count"] = len(ctx["stopped"])

    await engine.create_workflow("w", {"servers": ["a"]}, [Stop])
    assert (await engine.run("w")).context["count"] == 2


class PayAll(TransactionalStep[Servers]):
    """Writes a row for each server."""

    async def work(self, ctx: Context[Servers], session: AsyncSession) -> None:
        """Pay for them, and then go wrong where the test wants that."""
        for server in ctx.typed["servers"]:
            await session.execute(PAY, {"name": server})
        ctx.typed["servers"] = World.now.failing.get("pay", [])  # type: ignore[typeddict-item]  # that is the test


async def test_a_transaction_is_undone_where_its_change_does_not_fit(
    engine: Engine, database: Database, world: World
) -> None:
    await make_table(database)
    world.failing["pay"] = ValueError("no list of servers")
    await engine.create_workflow("w", {"servers": ["a"]}, [PayAll])
    with pytest.raises(StepError, match=r"context\['servers'\]: a ValueError can't be saved"):
        await engine.run("w")
    assert await paid(database) == []
    world.failing.clear()
    assert (await engine.restart("w")).context == {"servers": []}
    assert await paid(database) == ["a"]


class Measure(BaseStep[Item], name="tests.MeasureTyped"):
    """Measures its item."""

    async def work(self, ctx: Context[Item]) -> None:
        """Measure it."""
        ctx.typed.length = len(ctx.typed.item)


async def test_a_step_for_each_item_has_its_type(engine: Engine) -> None:
    await engine.create_workflow("w", {}, [ForEach(["a", "bb"], Measure, save_as="sizes")])
    assert (await engine.run("w")).context == {"sizes": [{"length": 1}, {"length": 2}]}
    await engine.create_workflow("v", {}, [ForEach([1], Measure, save_as="sizes")])
    with pytest.raises(StepError, match=r"context\['item'\]: expected `str`, got `int`, says Item"):
        await engine.run("v")
