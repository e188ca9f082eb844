"""Functions, changes of the context and checks of it, as steps that a real engine runs: what a row may make of them."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from awfe import BaseStep, Engine, Retry, StepError, StepNotFound, WorkflowStopped
from awfe.domain import registry
from awfe.steps import Assert, AssertionFailed, Call, CallSync, SetContext
from tests.conformance import functions
from tests.databases import Database

MODULE = "tests.conformance.functions"
# Loads and runs a saved workflow; it has never imported the steps, and prints whether the program had to.
FRESH = f"""
import asyncio, sys
from awfe import Engine

async def main(url, name):
    async with Engine(url, step_modules=[{MODULE!r}]) as engine:
        print("awfe.steps" in sys.modules)
        print((await engine.run(name)).state)
        print("awfe.steps" in sys.modules)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_functions_values_and_checks_are_run_and_kept(engine: Engine) -> None:
    steps = [
        SetContext({"name": "{env}-{n}", "hosts": ["{env}1", "{n}"], "seen": {"n": "{n}"}}, unset=["old"]),
        Assert("n > 3 and 'test1' in hosts and not exists('old')", "{name}"),
        Call(functions.count, key="calls", by=2),
        Call(functions.nap, seconds=0.01),
        CallSync(functions.blocking, text="hello"),
        Assert("calls == 2 and in_thread"),
    ]
    await engine.create_workflow("w", {"env": "test", "n": 7, "old": 1}, steps)
    workflow = await engine.run("w")
    napped = workflow.context["napped"]
    assert workflow.context == {
        "env": "test",
        "n": 7,
        "name": "test-7",
        "hosts": ["test1", 7],
        "seen": {"n": 7},
        "calls": 2,
        "napped": napped,
        "in_thread": True,
    }
    assert workflow.steps[0].changes.unset == ("old",)
    assert [step.output for step in workflow.steps] == ["", "", "calls is 2\n", "", "hello\n", ""]
    told = [(str(event.cause), event.step) for event in await engine.history("w")]
    assert ("checkpoint", 3) in told
    assert ("step_waiting", 4) in told


async def test_a_check_that_does_not_hold_shows_what_it_saw_and_can_be_mended(engine: Engine) -> None:
    steps = [SetContext({"free": "{disk.free}"}), Assert("free >= needed", "{host}"), SetContext({"done": True})]
    await engine.create_workflow("w", {"disk": {"free": 3}, "needed": 10, "host": "db1"}, steps)
    with pytest.raises(StepError, match="AssertionFailed: db1: free >= needed does not hold") as failed:
        await engine.run("w")
    assert isinstance(failed.value.__cause__, AssertionFailed)
    workflow = await engine.get("w")
    assert (workflow.state, workflow.position, workflow.context.get("done")) == ("error", 2, None)
    error = workflow.steps[1].error
    assert error is not None
    assert error.message.splitlines()[1:] == ["  free = 3", "  needed = 10"]
    await engine.update_context("w", {"free": 12}, actor="ada", reason="logs removed")
    assert (await engine.restart("w")).context["done"] is True


async def test_a_place_that_the_context_has_not_changes_nothing(engine: Engine) -> None:
    await engine.create_workflow("w", {"a": 1}, [SetContext({"a": 2, "b": "{nope}"})])
    with pytest.raises(StepError, match="the context has no 'nope'"):
        await engine.run("w")
    assert (await engine.get("w")).context == {"a": 1}


async def test_each_attempt_of_a_retried_function_is_in_the_history(engine: Engine) -> None:
    step = Call(functions.fail, times=2).using(retry=Retry(attempts=3, wait=0.01))
    await engine.create_workflow("w", {}, [step])
    workflow = await engine.run("w")
    assert (workflow.state, workflow.steps[0].attempt) == ("completed", 3)
    told = [
        (event.attempt, str(event.cause), event.error and event.error.message)
        for event in await engine.history("w")
        if event.error is not None or event.cause == "step_completed"
    ]
    assert told == [
        (1, "step_error", "attempt 1 fails"),
        (2, "step_error", "attempt 2 fails"),
        (3, "step_completed", None),
    ]


async def test_a_function_in_a_thread_may_end_in_order(engine: Engine, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    await engine.create_workflow("w", {}, [CallSync(functions.until_stopped, begun=str(begun))])
    handle = await engine.start("w")
    async with asyncio.timeout(30):
        while not begun.exists():
            await asyncio.sleep(0.005)
    await engine.stop("w")
    with pytest.raises(WorkflowStopped):
        await handle
    step = (await engine.get("w")).steps[0]
    assert (step.state, step.output) == ("stopped", "ended in order\n")


async def tamper(database: Database, **arguments: Any) -> None:
    """Change the arguments of the second step behind the engine's back."""
    statement = "UPDATE awfe_step SET args = :args WHERE position = 2"
    await database.execute(statement, {"args": json.dumps(arguments)})


FUNCTIONS = ["os:system", "antigravity:fly", "this:s", f"{MODULE}:threading", f"{MODULE}:never", "", "no colon"]
EXPRESSIONS = [
    "__import__('this')",
    "(lambda: 0)()",
    "a.__class__",
    "open('/etc/passwd')",
    "[x for x in a]",
    "f'{a}'",
    "a ** a",
    "len(",
    "",
]


@pytest.mark.parametrize("kind", ["Call", "CallSync"])
async def test_a_row_can_not_make_it_call_or_import_what_was_not_allowed(
    engine: Engine, database: Database, kind: str
) -> None:
    registry.allow([MODULE])
    steps: dict[str, BaseStep] = {
        "Call": Call(functions.count, key="n"),
        "CallSync": CallSync(functions.blocking, text="x"),
    }
    await engine.create_workflow("w", {}, [SetContext({"begun": True}), steps[kind]])
    for name in FUNCTIONS:
        await tamper(database, function=name, arguments={})
        imported = set(sys.modules)
        for verb in (engine.run, engine.start):
            with pytest.raises(StepNotFound, match=r"may not be called: name|is not a function that"):
                await verb("w")
        assert not {"this", "antigravity"} & (set(sys.modules) - imported)
    # A function of the wrong kind, and arguments that it does not take.
    other = f"{MODULE}:{'blocking' if kind == 'Call' else 'count'}"
    for arguments in ({"text": "x", "key": "n"}, {"evil": 1}):
        await tamper(database, function=other, arguments=arguments)
        with pytest.raises(StepNotFound, match=r"the saved arguments .* don't fit"):
            await engine.run("w")
    assert (await engine.get("w")).context == {}
    assert (await engine.get("w")).state == "pending", "nothing has begun"


async def test_an_expression_in_a_row_is_never_run_as_python(engine: Engine, database: Database) -> None:
    await engine.create_workflow("w", {"a": 1}, [SetContext({"begun": True}), Assert("a == 1")])
    for expression in EXPRESSIONS:
        await tamper(database, expression=expression, message=None)
        imported = set(sys.modules)
        with pytest.raises(StepNotFound, match=r"the saved arguments .* don't fit Assert"):
            await engine.run("w")
        assert "this" not in set(sys.modules) - imported
    assert (await engine.get("w")).context == {"a": 1}
    await tamper(database, expression="a == 1", message=None)
    assert (await engine.run("w")).context == {"a": 1, "begun": True}


async def test_a_process_that_never_imported_the_steps_runs_them(engine: Engine, database: Database) -> None:
    steps = [
        SetContext({"n": 1}),
        Assert("n == 1"),
        Call(functions.count, key="n"),
        CallSync(functions.blocking, text="x"),
    ]
    await engine.create_workflow("w", {}, steps)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", FRESH, database.url, "w"),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    printed, _ = await process.communicate()
    assert printed.decode().split() == ["False", "completed", "True"]
    assert (await engine.get("w")).context == {"n": 2, "in_thread": True}
