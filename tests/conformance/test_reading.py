"""Lists, counts, histories, tombstones; hooks, observers, output."""

import asyncio
import contextlib
import logging
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from awfe import Context, Engine, Event, InvalidInput, StepError, WorkflowNotFound, WorkflowState, step
from awfe.persistence import lookup, reads
from tests.conformance.conftest import OpenEngine
from tests.conformance.steps import Flaky, Note, World
from tests.databases import Database


@step
async def prints(ctx: Context, lines: int, text: str = "line") -> None:
    """Print for people."""
    for number in range(lines):
        ctx.output(f"{text} {number}\n")
    ctx.log.info("printed %d", lines)


async def test_list_pages_in_the_order_of_code_points(engine: Engine) -> None:
    names = sorted(["b", "B", "a", "é", "z", "ab", "a_", "a%"])
    for name in names:
        await engine.create_workflow(name, {}, [Note("one")])
    found: list[str] = []
    after = None
    while page := await engine.list(limit=3, after=after):
        assert len(page) <= 3
        found += [summary.name for summary in page]
        after = page[-1].name
    assert found == names
    assert [s.name for s in await engine.list(name_prefix="a")] == ["a", "a%", "a_", "ab"]
    assert [s.name for s in await engine.list(name_prefix="a%")] == ["a%"]
    assert [s.name for s in await engine.list(name_prefix="B")] == ["B"]


async def test_list_filters_by_state_and_shows_the_first_line_of_an_error(engine: Engine) -> None:
    await engine.create_workflow("bad", {}, [Note("one"), Flaky("two", 1)])
    await engine.create_workflow("good", {}, [Note("one")])
    with pytest.raises(StepError):
        await engine.run("bad")
    await engine.run("good")
    (bad,) = await engine.list(state="error")
    assert (bad.name, bad.position, bad.step, bad.error) == ("bad", 2, "Flaky", "ValueError: two fails")
    (good,) = await engine.list(state=WorkflowState.COMPLETED)
    assert (good.name, good.position, good.step, good.error) == ("good", None, None, None)
    assert good.ended_at is not None
    with pytest.raises(InvalidInput, match="the states are"):
        await engine.list(state="finished")
    with pytest.raises(InvalidInput, match="limit"):
        await engine.list(limit=0)
    stats = await engine.stats()
    assert {state: count for state, count in stats.items() if count} == {"completed": 1, "error": 1}
    assert set(stats) == set(WorkflowState)


async def test_history_tells_who_did_what_and_why(engine: Engine) -> None:
    await engine.create_workflow("w", {"a": 1}, [Flaky("one", 2), Note("two")], actor="ann", reason="begin")
    with pytest.raises(StepError):
        await engine.run("w", actor="bob", reason="night shift")
    await engine.update_context("w", {"b": 2}, ["a"], actor="cid", reason="typo\0")
    with pytest.raises(StepError):
        await engine.restart("w", actor="dan", reason="try")
    await engine.skip("w", context={"by": "hand"}, actor="eve", reason="done by hand")
    await engine.run("w")
    history = await engine.history("w")
    told = [(e.cause, e.step, e.attempt, e.before, e.after, e.actor, e.changes.set, e.changes.unset) for e in history]
    assert told == [
        ("created", None, None, None, "pending", "ann", {"a": 1}, ()),
        ("run", 1, None, "pending", "running", "bob", {}, ()),
        ("step_error", 1, 1, "running", "error", None, {"tries": 1}, ()),
        ("update_context", None, None, "error", "error", "cid", {"b": 2}, ("a",)),
        ("reset", 1, None, "error", "paused", "dan", {}, ()),
        ("run", 1, None, "paused", "running", "dan", {}, ()),
        ("step_error", 1, 2, "running", "error", None, {"tries": 1}, ()),
        ("skip", 1, None, "error", "paused", "eve", {"by": "hand"}, ()),
        ("run", 2, None, "paused", "running", None, {}, ()),
        ("step_completed", 2, 1, "running", "completed", None, {}, ()),
    ]
    assert [e.reason for e in history][3] == "typo\\x00"
    assert history[2].error is not None
    assert [e.at for e in history] == sorted(e.at for e in history)
    workflow = await engine.get("w")
    assert workflow.context == {"b": 2, "by": "hand"}
    assert (workflow.steps[0].state, workflow.steps[0].changes.set) == ("skipped", {"by": "hand"})


async def test_the_view_for_people_shows_the_same_states(engine: Engine, database: Database) -> None:
    await engine.create_workflow("w", {}, [Note("one"), Flaky("two", 9), Note("three"), Flaky("four", 9), Note("five")])
    with pytest.raises(StepError):
        await engine.run("w")
    await engine.skip("w")
    with pytest.raises(StepError):
        await engine.run("w")
    for _ in range(2):
        workflow = await engine.get("w")
        shown = await database.execute("SELECT position, state FROM awfe_step_state ORDER BY position")
        assert shown == [(s.position, s.state.value) for s in workflow.steps]
        await engine.reset("w", from_step=1)
        await engine.skip("w")


async def test_delete_leaves_a_tombstone_and_frees_the_name(engine: Engine, database: Database) -> None:
    await engine.create_workflow("w", {}, [Note("one")])
    await engine.run("w")
    await engine.delete("w", actor="ann", reason="old")
    (stone,) = await engine.deleted()
    assert (stone.name, stone.actor, stone.reason) == ("w", "ann", "old")
    for table in ("workflow", "step", "attempt", "event"):
        assert await database.execute(f"SELECT COUNT(*) FROM awfe_{table}") == [(0,)]
    await engine.create_workflow("w", {}, [Note("again")])
    assert (await engine.get("w")).steps[0].attempt == 0


async def test_hooks_run_inside_the_attempt(engine: Engine, world: World) -> None:
    seen: list[tuple[str, str, int]] = []

    @engine.before_step
    async def before(ctx: Context) -> None:
        seen.append(("before", ctx.step.name, ctx.step.position))
        ctx["hooked"] = ctx.workflow
        if world.failing:
            raise world.failing["hook"]

    @engine.after_step
    async def after(ctx: Context) -> None:
        seen.append(("after", ctx.step.name, ctx.step.position))

    await engine.create_workflow("w", {}, [Note("one"), Flaky("two", 1)])
    with pytest.raises(StepError):
        await engine.run("w")
    assert seen == [("before", "Note", 1), ("after", "Note", 1), ("before", "Flaky", 2)]
    world.failing["hook"] = RuntimeError("not today")
    with pytest.raises(StepError, match="not today"):
        await engine.restart("w")
    assert world.calls == ["one", "two"]
    assert (await engine.get("w")).context == {"hooked": "w"}
    with pytest.raises(InvalidInput, match="async function"):
        engine.before_step(print)  # type: ignore[arg-type]  # what is tested


async def test_observers_get_what_was_committed_and_disturb_nothing(
    open_engine: OpenEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine = await open_engine()
    events: list[Event] = []

    @engine.observer
    def broken(_event: Event) -> None:
        raise RuntimeError

    @engine.observer
    async def collect(event: Event) -> None:
        await asyncio.sleep(0)
        events.append(event)

    await engine.create_workflow("w", {}, [Note("one"), Flaky("two", 1)])
    with pytest.raises(StepError):
        await engine.run("w")
    await engine.restart("w")
    history = await engine.history("w")
    await engine.delete("w")
    await engine.close()
    assert events[:-1] == history
    assert events[-1].cause == "delete"
    assert "observer" in caplog.text
    with pytest.raises(InvalidInput, match="can't observe"):
        engine.observer(None)  # type: ignore[arg-type]  # what is tested


async def test_output_goes_to_redirect_and_its_tail_is_kept(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    got: list[str] = []
    caplog.set_level(logging.INFO)
    async with Engine(database.url, redirect=got.append, max_output_bytes=100) as engine:
        await engine.create_workflow("w", {}, [prints(50), prints(1, "é" * 300)])
        workflow = await engine.run("w")
    assert got[:2] == ["line 0\n", "line 1\n"]
    assert len(got) == 51
    assert workflow.steps[0].output.endswith("line 48\nline 49\n")
    assert len(workflow.steps[0].output.encode()) <= 100
    assert 90 <= len(workflow.steps[1].output.encode()) <= 100
    assert "w[1 prints]: printed 50" in caplog.text


@pytest.mark.parametrize("write", [True, False])
async def test_a_broken_redirect_fails_no_step_and_is_logged_once(
    database: Database, caplog: pytest.LogCaptureFixture, *, write: bool
) -> None:
    class Broken:
        def write(self, _text: str) -> None:
            raise OSError

    redirect: Any = Broken() if write else Broken().write
    async with Engine(database.url, redirect=redirect) as engine:
        await engine.create_workflow("w", {}, [prints(3)])
        workflow = await engine.run("w")
    assert workflow.steps[0].output == "line 0\nline 1\nline 2\n"
    assert len([r for r in caplog.records if "redirect" in r.getMessage()]) == 1


@pytest.mark.parametrize("read", ["get", "history", "plan"])
async def test_deleted_while_it_is_read(
    engine: Engine, open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    other = await open_engine()
    await engine.create_workflow("w", {}, [Note("one")])
    fetched = lookup.fetched

    async def late(connection: AsyncConnection, name: str, statement: Any, key: Any) -> Any:
        rows = await fetched(connection, name, statement, key)
        monkeypatch.undo()
        await other.delete("w")
        return rows

    for module in (lookup, reads):
        monkeypatch.setattr(module, "fetched", late)
    found = asyncio.ensure_future(engine.plan("w", "run") if read == "plan" else getattr(engine, read)("w"))
    # A file shows a reader what was there when it began; a server shows each statement what is there by now.
    with contextlib.suppress(WorkflowNotFound):
        assert await found
