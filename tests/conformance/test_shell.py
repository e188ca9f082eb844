"""`Shell` in an engine: its output, its failure, and that nothing of it outlives a stop or the engine."""

import asyncio
import secrets
from pathlib import Path
from typing import Any

import pytest

from awfe import Engine, StepError, StepTimeout, WorkflowStopped
from awfe.steps import Shell, ShellError
from tests.conformance.conftest import OpenEngine
from tests.conformance.helpers import Start, killed

# Grandchildren, in the background too, some of which don't listen to TERM.
STUBBORN = (
    "sh -c 'trap \"\" TERM; while :; do sleep 1000; done' & "
    "trap '' TERM; (sleep 1000; :) & echo begun; sleep 1000; wait"
)
MARK = "AWFE_TEST_MARK"


def marked(mark: str) -> list[int]:
    """Return the processes that have a mark in their environment, but not those that are dead."""
    wanted = f"{MARK}={mark}".encode()
    return [int(each.parent.name) for each in Path("/proc").glob("[0-9]*/environ") if wanted in _read(each)]


def _read(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().split(b"\0")
    except OSError:  # it has ended, or is not ours
        return []


@pytest.fixture
def mark() -> str:
    """Return a mark that no other test has."""
    return secrets.token_hex(8)


async def begun(engine: Engine, mark: str, name: str = "w", count: int = 4) -> None:
    """Wait until a command and what it has started are there."""
    async with asyncio.timeout(60):
        while len(marked(mark)) < count:
            assert (await engine.get(name)).state in ("pending", "running")
            await asyncio.sleep(0.01)


async def gone(mark: str) -> None:
    """Wait until nothing of it is left."""
    async with asyncio.timeout(60):
        while marked(mark):
            await asyncio.sleep(0.01)


def stubborn(mark: str, kill_after: float = 0.3) -> Shell:
    """Return a command that is hard to end."""
    return Shell(STUBBORN, env={MARK: mark}, kill_after=kill_after)


async def test_a_runbook_of_commands(open_engine: OpenEngine) -> None:
    printed: list[str] = []
    engine = await open_engine(redirect=printed.append)
    steps = [
        Shell("printf '%s-%s' {app} {hosts[0]}", save_as="tag"),
        Shell(["echo", "{tag}", "{hosts}"]),
        Shell("echo begin; echo {tag} >&2; exit {code}", ok_codes=[0, 1]),
    ]
    context: dict[str, Any] = {"app": "it's", "hosts": ["a b", "c"], "code": 1}
    await engine.create_workflow("w", context, steps)
    workflow = await engine.run("w")
    assert workflow.context == {**context, "tag": "it's-a b"}
    assert [step.output for step in workflow.steps] == ["it's-a b", "it's-a b a b c\n", "begin\nit's-a b\n"]
    assert printed == ["it's-a b", "it's-a b a b c\n", "begin\n", "it's-a b\n"]


async def test_a_failure_keeps_code_and_output(engine: Engine) -> None:
    await engine.create_workflow("w", {}, [Shell("echo no space; exit 28")])
    with pytest.raises(StepError, match="'echo no space; exit 28' ended with exit code 28") as caught:
        await engine.run("w")
    assert isinstance(caught.value.__cause__, ShellError)
    step = (await engine.get("w")).steps[0]
    assert step.output == "no space\n"
    assert step.error is not None
    assert step.error.type == "awfe.steps.shell.ShellError"
    assert step.error.message.endswith(" ended with exit code 28: no space")


async def test_after_a_stop_nothing_is_left(engine: Engine, mark: str) -> None:
    await engine.create_workflow("w", {}, [stubborn(mark)])
    handle = await engine.start("w")
    await begun(engine, mark)
    await engine.stop("w")
    with pytest.raises(WorkflowStopped):
        await handle
    assert marked(mark) == []
    assert (await engine.get("w")).steps[0].output == "begun\n"


async def test_a_command_may_end_in_order(engine: Engine, mark: str) -> None:
    command = "trap 'echo clean; exit 0' TERM; echo begun; while :; do sleep 0.01; done"
    await engine.create_workflow("w", {}, [Shell(command, env={MARK: mark}, kill_after=60)])
    handle = await engine.start("w")
    await begun(engine, mark, count=2)
    await engine.stop("w")
    with pytest.raises(WorkflowStopped):
        await handle
    output = (await engine.get("w")).steps[0].output
    assert (output.startswith("begun\n"), output.endswith("clean\n")) == (True, True)
    assert marked(mark) == []


async def test_after_a_timeout_nothing_is_left(engine: Engine, mark: str) -> None:
    await engine.create_workflow("w", {}, [stubborn(mark).using(timeout=1.0)])
    with pytest.raises(StepTimeout):
        await engine.run("w")
    assert marked(mark) == []


async def test_after_a_cancelled_run_nothing_is_left(engine: Engine, mark: str) -> None:
    await engine.create_workflow("w", {}, [stubborn(mark)])
    task = asyncio.create_task(engine.run("w"))
    await begun(engine, mark)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert marked(mark) == []


async def test_after_a_close_nothing_is_left(open_engine: OpenEngine, mark: str) -> None:
    engine, other = await open_engine(shutdown_grace=0.1), await open_engine()
    await engine.create_workflow("w", {}, [stubborn(mark)])
    await engine.start("w")
    await begun(engine, mark)
    await engine.close()
    assert marked(mark) == []
    assert (await other.get("w")).steps[0].state == "interrupted"


async def test_after_a_grace_that_is_too_short_nothing_is_left_either(engine: Engine, mark: str) -> None:
    await engine.create_workflow("w", {}, [stubborn(mark, kill_after=0.5)])
    handle = await engine.start("w")
    await begun(engine, mark)
    await engine.stop("w", grace=0.01)
    with pytest.raises(WorkflowStopped):
        await handle
    await gone(mark)
    async with asyncio.timeout(60):
        await engine.wait("w")


async def test_after_the_engine_was_killed_nothing_is_left(
    engine: Engine, start: Start, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWFE_STEP_MODULES", "awfe.steps")
    await engine.create_workflow("w", {}, [stubborn(mark)])
    process = await start("run", "w")
    await begun(engine, mark)
    await killed(process)
    await gone(mark)


async def test_commands_of_many_workflows_end_with_the_engine(
    engine: Engine, start: Start, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of them holds what another one waits for the end of."""
    monkeypatch.setenv("AWFE_STEP_MODULES", "awfe.steps")
    names = [f"w{n}" for n in range(4)]
    for name in names:
        await engine.create_workflow(name, {}, [stubborn(mark)])
    process = await start("start", *names)
    await begun(engine, mark, "w0", count=4 * len(names))
    await killed(process)
    await gone(mark)
