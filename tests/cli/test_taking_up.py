"""`awfe recover` and `awfe watch`, in the test's own process: what they tell of what is in the way."""

import asyncio
import json
import os
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from awfe import Engine, Workflow, WorkflowSummary
from awfe.cli import recovering, watching
from awfe.cli.app import run
from awfe.cli.out import Out
from awfe.steps import Shell

URL = "sqlite:///awfe.db"


@pytest.fixture(autouse=True)
def _beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWFE_DATABASE_URL", URL)


def with_engine(do: Callable[[Engine], Awaitable[Any]]) -> Any:
    """Do something with an engine beside the command line."""

    async def done() -> Any:
        async with Engine(URL) as engine:
            return await do(engine)

    return asyncio.run(done())


def due(engine: Engine) -> Awaitable[Any]:
    """Make a workflow that is to start now."""
    return engine.create_workflow("due", {}, [Shell("true")], at=datetime.now(UTC))


def spoil(impl: str, args: str, state: str = "pending") -> None:
    """Let the step be another, of a workflow in this state; one that is paused was so by a shutdown."""
    with closing(sqlite3.connect("awfe.db")) as connection, connection:
        connection.execute("UPDATE awfe_step SET impl = ?, args = ?", (impl, args))
        connection.execute("UPDATE awfe_workflow SET state = ?, resumable = ?", (state, state == "paused"))


def test_recover_keeps_who_asked_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    with_engine(due)
    assert run(["--actor", "ada", "recover", "--reason", "the night is over"]) == 0
    assert capsys.readouterr().out.endswith("due: completed\n")
    events = with_engine(lambda engine: engine.history("due"))
    assert [(each.actor, each.reason) for each in events if each.cause == "run"] == [("ada", "the night is over")]


@pytest.mark.parametrize("state", ["pending", "paused"])
def test_recover_tells_the_state_of_what_it_can_not_make(state: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And how to go on; the workflow is as it was."""
    with_engine(due)
    spoil("nowhere.steps:Gone", "{}", state)
    assert run(["recover"]) == 3
    told = capsys.readouterr()
    assert told.out == f"due: {state} (it needs an operator)\n"
    assert told.err.endswith("awfe: steps are not known here; try awfe --import nowhere.steps recover\n")
    assert run(["recover", "--json"]) == 3
    known = {"started": [], "refused": ["due"], "states": {"due": state}, "exit": 3}
    assert json.loads(capsys.readouterr().out) == known


def test_recover_names_a_missing_module_once(capsys: pytest.CaptureFixture[str]) -> None:
    with_engine(due)
    with_engine(lambda engine: engine.create_workflow("too", {}, [Shell("true")], at=datetime.now(UTC)))
    spoil("nowhere.steps:Gone", "{}")
    assert run(["recover"]) == 3
    assert capsys.readouterr().err.endswith("try awfe --import nowhere.steps recover\n")


def test_recover_passes_over_what_it_can_not_read_and_runs_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    with_engine(due)
    with_engine(lambda engine: engine.create_workflow("too", {}, [Shell("true")], at=datetime.now(UTC)))
    with closing(sqlite3.connect("awfe.db")) as connection, connection:
        connection.execute("UPDATE awfe_event SET changes = 'no JSON' WHERE workflow_id = 1")
    assert run(["recover"]) == 3
    assert capsys.readouterr().out.endswith("due: can not be read\ntoo: completed\n")


@pytest.mark.parametrize("halt", ["deletes", "leaves"])
def test_recover_tells_what_became_of_what_it_began(
    halt: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also when it was deleted meanwhile, or when SIGTERM has closed the engine."""
    steps = [Shell("sleep 0.2"), Shell("true")]
    with_engine(lambda engine: engine.create_workflow("due", {}, steps, at=datetime.now(UTC)))
    look = recovering._rested

    async def rested(engine: Engine, name: str) -> Workflow:
        if halt == "leaves":
            while (await engine.get(name)).state != "running":
                await asyncio.sleep(0.001)
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            await engine.wait(name)
            await engine.delete(name)
        return await look(engine, name)

    monkeypatch.setattr(recovering, "_rested", rested)
    assert run(["recover"]) == (0 if halt == "deletes" else 4)
    told = capsys.readouterr()
    if halt == "deletes":
        assert told.out.endswith("due: deleted\n")
    else:
        assert told.out.endswith("due: paused\n")
        assert told.err == "awfe: SIGTERM: pausing; `awfe recover` goes on\n"


def test_recover_tells_of_what_can_not_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    with_engine(due)
    spoil("awfe.steps:Shell", "no JSON")
    assert run(["recover"]) == 3
    assert capsys.readouterr().out == "due: can not be read (it needs an operator)\n"
    assert run(["recover", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["states"] == {"due": None}


def test_an_imported_module_is_known_beside_those_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        Path(f"{name}_module.py").write_text(
            "import awfe\n\n\n"
            f"class Step(awfe.BaseStep, name='taking_up.{name}'):\n"
            "    async def work(self, ctx):\n"
            "        pass\n"
        )
    with_engine(due)
    spoil("taking_up.one", "{}")
    monkeypatch.setenv("AWFE_STEP_MODULES", "one_module")
    assert run(["--import", "two_module", "recover"]) == 0
    assert capsys.readouterr().out.endswith("due: completed\n")


def test_a_signal_can_be_planned(capsys: pytest.CaptureFixture[str]) -> None:
    with_engine(due)
    assert run(["plan", "signal", "due", "--topic", "go", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["allowed"]


@pytest.mark.parametrize(("room", "last"), [(1000, "due: deleted\n"), (0, "")])
def test_watch_calls_nothing_deleted_that_it_overlooked(
    room: int, last: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One whose state changes while the states are looked at in turn may be in none of them.

    Where there are more than it looks at, it follows what has ended no further.
    """
    look, looks = watching._look, 0

    async def overlooking(engine: Engine, prefix: str, _room: int) -> list[WorkflowSummary]:
        nonlocal looks
        looks += 1
        if looks == 2:
            await engine.skip("due")
            return []
        if looks == 3:
            await engine.delete("due")
        if looks == 4:
            out.is_gone = True
        return await look(engine, prefix, 1000)

    monkeypatch.setattr(watching, "_look", overlooking)
    monkeypatch.setattr(watching, "_PIPED", room)
    with_engine(due)
    out = Out(as_json=False)
    with_engine(lambda engine: watching._lines(engine, out, "", 0.0))
    assert capsys.readouterr().out == f"due: pending, step 1 Shell\ndue: completed\n{last}"
