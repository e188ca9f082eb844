"""ForEach without an engine: items, results, failures, policies of the step inside."""

import asyncio
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from awfe import BaseStep, Context, InvalidInput, Retry
from awfe.domain import step as steps
from awfe.steps import ForEach


@dataclass
class Double(BaseStep, name="tests.Double"):
    """Doubles its item, unless that is told to fail."""

    failing: ClassVar[dict[Any, list[Exception]]] = {}
    running: ClassVar[list[int]] = [0, 0]
    calls: ClassVar[list[Any]] = []
    keys: ClassVar[list[str]] = []
    key: str = "item"

    async def work(self, ctx: Context) -> None:
        """Count those that run at once, and double."""
        item = ctx[self.key]
        self.calls.append(item)
        self.keys.append(ctx.step.key)
        self.running[0] += 1
        self.running[1] = max(self.running)
        await asyncio.sleep(0)
        self.running[0] -= 1
        if errors := self.failing.get(item):
            raise errors.pop()
        ctx["double"] = item * 2
        ctx.output(f"doubled\nbegun {item}")


class Forever(BaseStep, name="tests.Forever"):
    """Never ends."""

    running: ClassVar[set[Any]] = set()

    async def work(self, ctx: Context) -> None:
        """Wait."""
        self.running.add(ctx["item"])
        try:
            await asyncio.Event().wait()
        finally:
            self.running.discard(ctx["item"])


class Parts(BaseStep, name="tests.Parts"):
    """Saves a part, and fails the first time."""

    async def work(self, ctx: Context) -> None:
        """Save, then fail."""
        ctx["begun"] = ctx.get("begun", 0) + 1
        del ctx["old"]
        await ctx.checkpoint()
        ctx["lost"] = True
        if ctx["begun"] == 1:
            message = "first"
            raise ValueError(message)
        del ctx["lost"]


@pytest.fixture(autouse=True)
def clean() -> None:
    Double.failing.clear()
    Double.calls.clear()
    Double.keys.clear()
    Double.running[:] = [0, 0]


async def test_results_are_at_the_places_of_their_items() -> None:
    ctx = Context({"numbers": [3, 1, 3], "other": "as it was"})
    await ForEach("numbers", Double, save_as="doubles").work(ctx)
    assert dict(ctx) == {
        "numbers": [3, 1, 3],
        "other": "as it was",
        "doubles": [{"double": 6}, {"double": 2}, {"double": 6}],
    }
    assert Double.running == [0, 1]
    assert len(set(Double.keys)) == 3


async def test_so_many_at_once_and_no_more() -> None:
    ctx = Context()
    await ForEach(list(range(10)), Double(key="n"), limit=4, as_="n").work(ctx)
    assert Double.running == [0, 4]
    assert sorted(Double.calls) == list(range(10))
    assert dict(ctx) == {}


async def test_what_is_done_is_not_done_again_also_in_a_list_that_was_changed() -> None:
    ctx = Context({"hosts": ["a", "b", "c"]})
    Double.failing["b"] = [ValueError("no")]
    step = ForEach("hosts", Double, save_as="out")
    with pytest.raises(ExceptionGroup, match=r"1 of 3 items failed, with max_failures=0, 1 not begun: b: ValueError"):
        await step.work(ctx)
    assert Double.calls == ["a", "b"]
    assert ctx["out[a]"] == {"double": "aa"}
    ctx["hosts"] = ["new", "b", "a"]
    ctx["out[b]"] = "by hand"
    await step.work(ctx)
    assert Double.calls == ["a", "b", "new"]
    assert dict(ctx) == {"hosts": ["new", "b", "a"], "out": [{"double": "newnew"}, "by hand", {"double": "aa"}]}


async def test_failures_that_are_allowed_are_told() -> None:
    for item in (2, 5, 7):
        Double.failing[item] = [ValueError(f"no {item}")] * 2
    ctx = Context()
    with pytest.raises(ExceptionGroup, match="3 of 10 items failed, with max_failures=20%, 2 not begun") as raised:
        await ForEach(list(range(10)), Double, max_failures="20%", save_as="out").work(ctx)
    assert [str(error) for error in raised.value.exceptions] == ["no 2", "no 5", "no 7"]
    ctx = Context()
    await ForEach(list(range(10)), Double, max_failures=3, save_as="out").work(ctx)
    assert [number for number, result in enumerate(ctx["out"]) if result is None] == [2, 5, 7]
    assert ctx["out_failed"][0] == {"item": 2, "error": "ValueError: no 2"}


async def test_retries_and_timeouts_of_the_step_inside_hold_for_each_item() -> None:
    Double.failing[1] = [ValueError("no"), ValueError("no")]
    lines: list[str] = []
    ctx = Context()
    ctx.output = lines.append  # type: ignore[assignment, method-assign]  # what is printed
    await ForEach([1, 2], Double().using(retry=Retry(attempts=3, wait=0)), save_as="out").work(ctx)
    assert ctx["out"] == [{"double": 2}, {"double": 4}]
    assert Double.calls == [1, 1, 1, 2]
    assert lines[0] == "1: attempt 1 failed, the next one begins in 0 s: ValueError: no\n"
    assert lines[2:4] == ["1: doubled\n", "1: begun 1\n"]
    with pytest.raises(ExceptionGroup, match=r"x: TimeoutError: took longer than the item's timeout of 0\.01 s"):
        await ForEach(["x"], Forever().using(timeout=0.01)).work(Context())
    Double.failing[2] = [ValueError("no")]
    ctx = Context()
    await ForEach([1, 2], Double().using(on_error="skip"), save_as="out").work(ctx)
    assert ctx["out"] == [{"double": 2}, None]


async def test_what_the_step_inside_has_saved_is_there_when_it_begins_again() -> None:
    ctx = Context({"old": 1})
    step = ForEach(["x"], Parts, save_as="out")
    with pytest.raises(ExceptionGroup, match="x: ValueError: first"):
        await step.work(ctx)
    assert ctx["out[x] so far"] == {"set": {"begun": 1}, "unset": ["old"]}
    ctx["old"] = 1  # nothing that the item has removed for itself
    with pytest.raises(ExceptionGroup, match="x: KeyError: 'old'"):
        await step.work(ctx)


async def test_one_inside_another() -> None:
    ctx = Context({"rows": [[1, 2], [3]]})
    Double.failing[2] = [ValueError("no")]
    step = ForEach("rows", ForEach("row", Double, save_as="cells"), as_="row", save_as="table")
    with pytest.raises(ExceptionGroup, match=r"\[1,2\]: ManyFailed: 1 of 2 items failed"):
        await step.work(ctx)
    await step.work(ctx)
    assert ctx["table"] == [{"cells": [{"double": 2}, {"double": 4}]}, {"cells": [{"double": 6}]}]
    assert Double.calls == [1, 2, 2, 3]
    # Without names they are made from the steps', and don't meet either.
    await ForEach([["a"], ["b"]], ForEach("item", Double)).work(ctx)
    assert Double.calls[4:] == ["a", "b"]


async def test_a_cancellation_from_within_is_a_failure() -> None:
    Double.failing[1] = [asyncio.CancelledError("oops")]  # type: ignore[list-item]  # what is tested
    with pytest.raises(ExceptionGroup, match="1: cancelled from within"):
        await ForEach([1], Double).work(Context())


async def test_one_that_is_cancelled_cancels_what_runs() -> None:
    before = asyncio.all_tasks()
    task = asyncio.create_task(ForEach([1, 2, 3], Forever, limit=2).work(Context()))
    async with asyncio.timeout(10):
        while Forever.running != {1, 2}:
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert Forever.running == set()
    assert asyncio.all_tasks() == before


def test_the_step_inside_is_saved_with_its_arguments_and_policies() -> None:
    made = ForEach("hosts", Double(key="host").using(timeout=3), limit=2, as_="host")
    spec = steps.save(1, made)
    assert spec.impl == "awfe.ForEach"
    assert b'{"impl":"tests.Double","args":{"key":"host"},"policies":{"timeout":3}}' in spec.args
    assert spec.load() == made


class _Unfit(BaseStep):
    def __init__(self, _value: int) -> None:
        pass


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("", Double), {}, "items='': give a key"),
        ((("a",), Double), {}, "give a list, or the key"),
        ((["a"], "Double"), {}, "is not a step"),
        ((["a"], _Unfit), {}, "needs its arguments"),
        ((["a"], {"impl": "nobody:knows", "args": {}, "policies": {}}), {}, "no step is registered"),
        ((["a"], {"impl": "tests.Double", "args": {"no": 1}, "policies": {}}), {}, "don't fit Double"),
        ((["a"], {"impl": "tests.Double"}), {}, "missing required field"),
        ((["a"], Double), {"limit": 0}, "limit=0"),
        ((["a"], Double), {"limit": True}, "limit=True"),
        ((["a"], Double), {"max_failures": -1}, "max_failures=-1"),
        ((["a"], Double), {"max_failures": "101%"}, "a percentage such as"),
        ((["a"], Double), {"as_": ""}, "as_=''"),
        ((["a"], Double), {"save_as": 3}, "save_as=3"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        ForEach(*arguments, **options)


def test_only_what_may_be_repeated_is() -> None:
    with pytest.raises(InvalidInput, match="would repeat Double"):
        ForEach(["a"], Double).using(on_interrupt="rerun")
    made = ForEach(["a"], Double().using(on_interrupt="rerun")).using(on_interrupt="rerun")
    assert steps.policies_of(steps.save(1, made).load()).rerun


@pytest.mark.parametrize(("values", "message"), [({}, "no such key"), ({"items": "abc"}, "a str there, not a list")])
async def test_what_the_context_has_must_be_a_list(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        await ForEach("items", Double).work(Context(values))
    await ForEach([], Double, save_as="none").work(ctx := Context())
    assert ctx["none"] == []
