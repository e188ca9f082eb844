"""One step by itself: what it did, and that it is done as an engine does it."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from awfe import BaseStep, Changes, ConfigError, Context, ContextError, InvalidInput, Sleep, TransactionalStep, step
from awfe.steps import Call, Secret, Shell, SubWorkflow
from awfe.testing import run_step


@dataclass
class Greet(BaseStep):
    greeting: str = "hello"
    timeout = 5

    async def work(self, ctx: Context) -> None:
        ctx.output(f"{self.greeting} {ctx['name']}\n")
        ctx["greeted"] = [*ctx.get("greeted", []), ctx.pop("name")]

    async def undo(self, ctx: Context) -> None:
        ctx["name"] = ctx["greeted"].pop()


class CountInChunks(BaseStep):
    async def work(self, ctx: Context) -> None:
        for number in (1, 2):
            ctx["done"] = number
            await ctx.checkpoint()
        ctx["all"] = True
        if ctx.get("fails"):
            msg = "at the end"
            raise ValueError(msg)


@step
async def poll(ctx: Context) -> Sleep | None:
    ctx["attempt"], ctx["woken"], ctx["key"] = ctx.step.attempt, ctx.step.woken, ctx.step.key
    return None if ctx.step.woken else Sleep(60)


@step(timeout=0.01)
async def too_slow(ctx: Context) -> None:  # noqa: ARG001 - a step's signature
    await asyncio.Event().wait()


class Insert(TransactionalStep):
    async def work(self, ctx: Context, session: AsyncSession) -> None:
        await session.execute(text("INSERT INTO t VALUES (:n)"), {"n": ctx["n"]})


class Login(BaseStep):
    async def work(self, ctx: Context) -> None:
        ctx.output(f"password: {ctx['password']}")


async def test_what_it_did_is_returned() -> None:
    context = {"name": "ann", "other": {"a": [1]}}
    done = await run_step(Greet("hi"), context)
    assert done.context == {"other": {"a": [1]}, "greeted": ["ann"]}
    assert done.changes == Changes({"greeted": ["ann"]}, ("name",))
    assert done.output == "hi ann\n"
    assert (done.waits, done.checkpoints) == (None, ())
    assert context == {"name": "ann", "other": {"a": [1]}}


async def test_a_class_is_a_step_too() -> None:
    assert (await run_step(Greet, {"name": "bob"})).output == "hello bob\n"


async def test_undo_is_run_in_its_place() -> None:
    assert (await run_step(Greet(), {"greeted": ["ann"]}, undo=True)).context == {"greeted": [], "name": "ann"}
    with pytest.raises(InvalidInput, match="CountInChunks has no 'async def undo"):
        await run_step(CountInChunks(), undo=True)


async def test_checkpoints_are_kept_apart_and_counted_in() -> None:
    done = await run_step(CountInChunks())
    assert done.checkpoints == (Changes({"done": 1}), Changes({"done": 2}))
    assert done.changes == Changes({"done": 2, "all": True})
    assert done.context == {"done": 2, "all": True}


async def test_what_it_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="at the end"):
        await run_step(CountInChunks(), {"fails": True})
    with pytest.raises(TimeoutError, match=r"timeout of 0\.01 s"):
        await run_step(too_slow())


async def test_what_it_waits_for_is_returned() -> None:
    done = await run_step(poll())
    assert done.waits == Sleep(60)
    assert done.context["woken"] is None
    again = await run_step(poll(), attempt=3, woken="due")
    assert again.waits is None
    assert again.context == {"attempt": 3, "woken": "due", "key": done.context["key"]}


async def test_it_is_refused_as_an_engine_refuses_it() -> None:
    @step
    async def wrong(ctx: Context) -> None:
        ctx["at"] = object()

    with pytest.raises(ContextError, match=r"context\['at'\]"):
        await run_step(wrong())
    with pytest.raises(ContextError, match=r"context\['x'\]"):
        await run_step(Greet(), {"x": object()})
    unfit: Any = Greet(object())  # type: ignore[arg-type]  # what is refused
    with pytest.raises(InvalidInput, match="Greet"):
        await run_step(unfit)
    nothing: Any = "a step"
    with pytest.raises(InvalidInput, match="is not a step"):
        await run_step(nothing)


async def test_a_context_may_not_grow_beyond_the_limit_in_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    @step
    async def grow(ctx: Context) -> None:
        ctx["large"] = "x" * 2_000
        await ctx.checkpoint()

    monkeypatch.setenv("AWFE_MAX_CONTEXT_BYTES", "1024")
    with pytest.raises(ContextError, match="max_context_bytes"):
        await run_step(grow())


async def test_its_own_transaction_is_the_tests() -> None:
    async with create_async_engine("sqlite+aiosqlite://").connect() as connection:
        session = AsyncSession(connection)
        await session.execute(text("CREATE TABLE t (n INTEGER)"))
        await run_step(Insert(), {"n": 7}, session=session)
        assert (await session.scalars(text("SELECT n FROM t"))).all() == [7]
        await session.close()
    with pytest.raises(InvalidInput, match="needs a session"):
        await run_step(Insert(), {"n": 7})


async def test_secrets_are_given_and_masked() -> None:
    done = await run_step(Login(), {"password": Secret("db")}, secrets={"db": "correct horse"})
    assert done.output == "password: ***"
    with pytest.raises(ConfigError, match="db"):
        await run_step(Login(), {"password": Secret("db")}, secrets={})


async def test_a_workflow_of_its_own_needs_an_engine() -> None:
    with pytest.raises(InvalidInput, match="run_step has none"):
        await run_step(SubWorkflow("child", [Greet()]))
    with pytest.raises(InvalidInput, match="run_step has none"):
        await run_step(SubWorkflow("child", [Greet()]), undo=True)


async def test_who_is_cancelled_stops_it() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await run_step(Shell("sleep 60"))


async def test_a_step_of_awfe_runs_by_itself() -> None:
    assert (await run_step(Shell("echo hello"))).output == "hello\n"
    assert (await run_step(Call(multiply, by=2), {"n": 4})).context["twice"] == 8


async def multiply(ctx: Context, by: int) -> None:
    ctx["twice"] = ctx["n"] * by
