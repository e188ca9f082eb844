"""Functions as steps: which may be called, and which never are, whatever a row says."""

import asyncio
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from awfe import Context, InvalidInput
from awfe.domain import registry
from awfe.domain.step import StepSpec, save
from awfe.steps import Call, CallSync, Secret
from tests.unit.test_registry import write_plugin

HERE = __name__


async def greet(ctx: Context, who: str, times: int = 1) -> None:
    """Greet somebody."""
    ctx["greeting"] = f"hello {who}" * times


async def clash(ctx: Context, function: str, arguments: str) -> None:
    """Has parameters that are called like those of Call."""
    ctx["got"] = [function, arguments]


def blocking(ctx: Context, text: str) -> None:
    """Tell from which thread it is called."""
    ctx["thread"] = threading.current_thread() is not threading.main_thread()
    ctx.output(text)


def checkpoints(ctx: Context) -> None:
    """Try to checkpoint."""
    ctx.checkpoint()


def gives(_ctx: Context) -> int:
    """Return something."""
    return 5


def saved(name: str, kind: str = "awfe.Call", **arguments: Any) -> StepSpec:
    """Return a step as a row may say that it is."""
    args = json.dumps({"function": name, "arguments": arguments}).encode()
    return StepSpec(1, "Call", kind, args, b"{}")


async def test_a_function_is_called_with_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T_SECRET", "hunter2")
    ctx = Context()
    await Call(greet, who="you", times=2).work(ctx)
    assert ctx["greeting"] == "hello youhello you"
    await Call(greet, who=Secret("T_SECRET")).work(ctx)
    assert ctx["greeting"] == "hello hunter2"
    await Call(clash, {"function": "f", "arguments": "a"}).work(ctx)
    assert ctx["got"] == ["f", "a"]


def test_it_is_saved_by_its_name_and_found_again() -> None:
    spec = save(1, Call(greet, who="you").using(timeout=5))
    assert spec.impl == "awfe.Call"
    assert json.loads(spec.args) == {"function": f"{HERE}:greet", "arguments": {"who": "you"}}
    assert spec.load() == Call(greet, who="you")
    assert Call(f"{HERE}:greet", who="you") == Call(greet, {"who": "you"})


async def test_a_blocking_one_is_called_in_a_thread() -> None:
    printed: list[tuple[str, bool]] = []
    ctx = Context()

    class Services:
        stop_requested = False
        secret = inspect = checkpoint = None

        def output(self, text: str) -> None:
            printed.append((text, threading.current_thread() is threading.main_thread()))

    ctx._services = Services()  # type: ignore[assignment]  # it needs no more
    await CallSync(blocking, text="hi").work(ctx)
    await asyncio.sleep(0)
    assert ctx["thread"] is True
    assert printed == [("hi", True)]
    with pytest.raises(InvalidInput, match="a function in a thread can't checkpoint"):
        await CallSync(checkpoints).work(ctx)
    returned: Any = await CallSync(gives).work(ctx)  # type: ignore[func-returns-value]  # what is tested
    assert returned == 5


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "os:system:x",
        "posix:system",
        "subprocess:run",
        "builtins:exec",
        "builtins:eval",
        "this:s",
        "antigravity:fly",
        "awfe.domain.registry:allow",
        "awfe.domain.registry:offer",
        "awfe.steps.call:Call.work",
        "awfe.steps:Call",
        "awfe:Engine",
        f"{HERE}:never_offered",
        "",
        ":",
        "os",
        "__main__:main",
        "..:x",
        "a" * 400,
    ],
)
@pytest.mark.parametrize("kind", ["awfe.Call", "awfe.CallSync"])
def test_what_was_not_allowed_is_neither_called_nor_imported(name: str, kind: str) -> None:
    """Whatever a row in the database says."""
    before = set(sys.modules)
    with pytest.raises(InvalidInput, match=r"may not be called: name|is not a function that"):
        saved(name, kind).load()
    assert not {"this", "antigravity"} & (set(sys.modules) - before)


def never_offered(ctx: Context) -> None:
    """Is in a module that was not allowed."""


MODULE = """
import os
from os import system
from awfe.steps import Shell
async def good(ctx, a=1): ctx["a"] = a
def sync(ctx): ctx["a"] = 2
def outer():
    async def inner(ctx): pass
    return inner
inner = outer()
alias = good
class Thing:
    async def method(ctx): pass
lamb = lambda ctx: None
"""


async def test_only_what_an_allowed_module_defines_itself_may_be_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "awfe_test_calls.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InvalidInput, match="may not be called: name 'awfe_test_calls' in step_modules"):
        Call("awfe_test_calls:good")
    assert "awfe_test_calls" not in sys.modules
    registry.allow(["awfe_test_calls"])
    ctx = Context()
    await Call("awfe_test_calls:good", a=5).work(ctx)
    assert ctx["a"] == 5
    await CallSync("awfe_test_calls:sync").work(ctx)
    for name in (
        "system",
        "os.system",
        "os",
        "Shell",
        "inner",
        "alias",
        "Thing",
        "Thing.method",
        "lamb",
        "nope",
        "__builtins__",
    ):
        with pytest.raises(InvalidInput, match="is not a function that awfe_test_calls defines at its top"):
            CallSync(f"awfe_test_calls:{name}")


async def test_the_module_of_an_entry_point_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_plugin(tmp_path, "awfe_test_plugged_calls", "async def good(ctx): ctx['a'] = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    ctx = Context()
    await Call("awfe_test_plugged_calls:good").work(ctx)
    assert ctx["a"] == 1


def local() -> Callable[..., Any]:
    """Return a function that no name leads to."""

    async def inside(ctx: Context) -> None:
        pass

    return inside


@pytest.mark.parametrize("function", [lambda _ctx: None, local(), print, Context.output, Context, 5, None])
def test_what_no_name_leads_to_is_refused(function: Any) -> None:
    for kind in (Call, CallSync):
        with pytest.raises(InvalidInput, match="can't be found again by a name: give a function that a module defines"):
            kind(function)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Call(blocking, text="x"), "is not async: give it to CallSync"),
        (lambda: CallSync(greet, who="x"), "is async: give it to Call"),
        (lambda: Call(greet), "can't be called with ctx and \\[\\]: missing a required argument: 'who'"),
        (lambda: Call(greet, who="x", wo="y"), "got an unexpected keyword argument 'wo'"),
        (lambda: Call(greet, cast("Any", ["x"])), "give a dict of keywords"),
        (lambda: Call(greet, cast("Any", {5: "x"})), "the key 5 is not a str"),
        (lambda: save(1, Call(greet, who={1, 2})), r"\['who'\]: a set can't be saved"),
    ],
)
def test_what_could_not_run_is_refused(make: Callable[[], Any], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        make()
