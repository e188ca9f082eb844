"""A clock that jumps over what workflows wait for, and over nothing else."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from awfe import BaseStep, Context, Engine, InvalidInput, Retry, Sleep, StepError, StepTimeout, Until, WaitFor
from awfe.domain.waits import Again
from awfe.steps import Delay, SubWorkflow
from awfe.testing import FakeClock, assert_workflow, reached
from tests.conformance.steps import Note
from tests.databases import Database

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = 86_400.0
MakeEngine = Callable[..., Engine]


class SleepThreeDays(BaseStep):
    async def work(self, ctx: Context) -> Sleep:
        ctx["slept"] = True
        return Sleep(3 * DAY)


class UntilSpring(BaseStep):
    async def work(self, ctx: Context) -> Until:  # noqa: ARG002 - a step's signature
        return Until(START + timedelta(days=79))


class PollThrice(BaseStep):
    async def work(self, ctx: Context) -> Again | None:
        ctx["polls"] = ctx.get("polls", 0) + 1
        return Again(3_600) if ctx["polls"] < 3 else None


class Answer(BaseStep):
    async def work(self, ctx: Context) -> WaitFor:  # noqa: ARG002 - a step's signature
        return WaitFor("answer", timeout=3_600)


class FailTwice(BaseStep):
    async def work(self, ctx: Context) -> None:
        if ctx.step.attempt < 3:
            msg = "not yet"
            raise ValueError(msg)


async def test_three_days_pass_while_run_is_awaited(database: Database) -> None:
    began = time.monotonic()
    async with Engine(database.url) as engine, FakeClock(engine, start=START) as clock:
        await engine.create_workflow("w", {}, [SleepThreeDays(), Note("after")])
        workflow = await engine.run("w")
        assert_workflow(workflow, "completed", steps=["completed", "completed"], context={"slept": True})
        assert workflow.started_at == START
        assert workflow.ended_at == clock.now == START + timedelta(days=3)
    # Milliseconds, on a machine that does something else too.
    assert time.monotonic() - began < 30


async def test_each_kind_of_waiting_for_a_time_is_skipped(database: Database) -> None:
    short = FailTwice().using(retry=Retry(attempts=3, wait=8, factor=1))
    long = FailTwice().using(retry=Retry(attempts=3, wait=DAY, factor=1, max_wait=DAY))
    async with Engine(database.url) as engine, FakeClock(engine, start=START) as clock:
        await engine.create_workflow("w", {}, [UntilSpring(), Delay(60), PollThrice(), short, long])
        workflow = await engine.run("w")
        assert [step.attempt for step in workflow.steps] == [1, 1, 1, 3, 3]
        waited = timedelta(days=79, seconds=60 + 2 * 3_600 + 2 * 8 + 2 * DAY)
        assert clock.now == START + waited


async def test_workflows_wake_in_the_order_of_their_times(database: Database) -> None:
    woken: list[str] = []
    async with Engine(database.url) as engine, FakeClock(engine, start=START) as clock:

        @engine.after_step
        async def note(ctx: Context) -> None:
            if ctx.step.name == "Note":
                woken.append(ctx.workflow)

        clock.skips = False
        for name, days in (("late", 3), ("early", 1), ("middle", 2)):
            await engine.create_workflow(name, {}, [Delay(days * DAY), Note("woken")])
            await engine.start(name)
            await reached(engine, name, "waiting")
        clock.skips = True
        for name in ("late", "early", "middle"):
            await engine.wait(name)
        assert woken == ["early", "middle", "late"]
        assert clock.now == START + timedelta(days=3)


async def test_a_workflow_that_runs_keeps_the_clock_from_jumping(database: Database) -> None:
    go_on = asyncio.Event()

    async with Engine(database.url) as engine, FakeClock(engine, start=START) as clock:

        @engine.before_step
        async def hold(ctx: Context) -> None:
            if ctx.workflow == "busy":
                await go_on.wait()

        await engine.create_workflow("busy", {}, [Note("busy")])
        await engine.create_workflow("w", {}, [Delay(60)])
        busy = await engine.start("busy")
        handle = await engine.start("w")
        await reached(engine, "w", "waiting")
        await clock._skip()
        assert clock.now == START
        go_on.set()
        await busy
        await handle
        assert clock.now == START + timedelta(seconds=60)


async def test_a_timeout_is_the_tests_to_let_pass(database: Database) -> None:
    async with Engine(database.url) as engine, FakeClock(engine, start=START) as clock:
        await engine.create_workflow("answered", {}, [Answer()])
        await engine.create_workflow("not", {}, [Answer()])
        await engine.create_workflow("sleeps", {}, [Delay(60)])
        answered, unanswered = await engine.start("answered"), await engine.start("not")
        await reached(engine, "answered", "waiting")
        await reached(engine, "not", "waiting")
        await engine.run("sleeps")
        assert clock.now == START + timedelta(seconds=60)
        await engine.signal("answered", "answer", 42)
        assert (await answered).context == {"answer": 42}
        await clock.advance(timedelta(hours=1))
        with pytest.raises(StepTimeout):
            await unanswered


async def test_what_is_scheduled_is_due_when_the_test_lets_time_pass(database: Database) -> None:
    async with Engine(database.url) as engine, FakeClock(engine, start=START) as clock:
        await engine.create_workflow("w", {}, [Note("one")], at=START + timedelta(days=1))
        assert (await engine.recover()).started == ()
        await clock.advance(DAY)
        assert (await engine.recover()).started == ("w",)
        assert (await engine.wait("w")).started_at == START + timedelta(days=1)


async def test_a_step_that_is_a_workflow_does_not_wait_in_vain(database: Database) -> None:
    async with Engine(database.url) as engine, FakeClock(engine, start=START) as clock:
        await engine.create_workflow("w", {}, [SubWorkflow("child", [SleepThreeDays()]), Note("after")])
        assert_workflow(await engine.run("w"))
        # The parent would look at its child every five minutes, if no signal came.
        assert clock.now == START + timedelta(days=3)


async def test_two_engines_have_one_clock(database: Database) -> None:
    async with (
        Engine(database.url) as one,
        Engine(database.url) as two,
        FakeClock(one, two, start=START) as clock,
    ):
        await one.create_workflow("a", {}, [Delay(DAY)])
        await two.create_workflow("b", {}, [Delay(2 * DAY)])
        await asyncio.gather(one.run("a"), two.run("b"))
        assert (await one.get("b")).ended_at == clock.now == START + timedelta(days=2)


async def test_without_skips_time_passes_only_when_it_is_told_to(database: Database) -> None:
    async with Engine(database.url) as engine, FakeClock(engine, start=START, skips=False) as clock:
        await engine.create_workflow("w", {}, [Delay(60), FailTwice().using(retry=Retry(attempts=2, wait=5))])
        handle = await engine.start("w")
        await reached(engine, "w", "waiting")
        await clock.advance(59)
        assert await engine._crew.waits.ready_here(engine._crew.owner, clock.now) == []
        await clock.advance(1)
        step = (await reached(engine, "w", "running")).steps[1]
        while step.due_at is None:
            await asyncio.sleep(0.005)
            step = (await engine.get("w")).steps[1]
        assert step.due_at == START + timedelta(seconds=65)
        await clock.advance(5)
        with pytest.raises(StepError):
            await handle


async def test_after_it_the_engine_has_its_own_clock(database: Database) -> None:
    async with Engine(database.url) as engine:
        async with FakeClock(engine, start=START):
            pass
        created = (await engine.create_workflow("w", {}, [Note("one")])).created_at
        assert datetime.now(UTC) - created < timedelta(minutes=10)


@pytest.mark.parametrize("seconds", [-1, float("nan"), "1", True, timedelta(seconds=-1)])
async def test_time_does_not_go_back(database: Database, seconds: float) -> None:
    async with Engine(database.url) as engine, FakeClock(engine, start=START) as clock:
        with pytest.raises(InvalidInput, match="advance"):
            await clock.advance(seconds)
        assert clock.now == START


def test_it_needs_an_engine_and_a_zone() -> None:
    with pytest.raises(InvalidInput, match="give the engines"):
        FakeClock()
    with pytest.raises(InvalidInput, match="zone"):
        FakeClock(Engine("sqlite:///never-opened.db"), start=datetime(2026, 1, 1))  # noqa: DTZ001 - what is refused
