"""The context: what a step sees is what it would see after a reload, and only what it changed is saved."""

import logging
from typing import Any

import pytest

from awfe.domain.context import Context, StepInfo
from awfe.domain.delta import NO_CHANGE, Delta
from awfe.domain.encoded import Encoded, size_of
from awfe.domain.values import decode
from awfe.errors import ContextError, InvalidInput
from tests.unit.contexts import Pair, Recorder, decoded, encoded


@pytest.mark.parametrize("again", [False, True], ids=["deleted", "deleted and set again"])
def test_a_removal_during_a_checkpoint_is_not_forgotten(again: bool) -> None:  # noqa: FBT001 - a parameter
    """Another task of the step may go on while the checkpoint is being written."""
    pair = Pair({"a": 1, "b": 2})
    pair.ctx["c"] = 3
    delta = pair.ctx.collect()
    del pair.ctx["a"]
    if again:
        pair.ctx["a"] = 1
    pair.ctx.commit(delta)
    delta.apply(pair.saved)
    pair.save()
    assert list(decoded(pair.saved).items()) == list(pair.ctx.items())


def test_only_the_changed_keys_are_collected() -> None:
    """The cost of a change follows its own size, not that of the context."""
    ctx = Context.attached(encoded({"big": [0] * 1000, "gone": 1, "list": [1]}), Recorder())
    ctx["new"] = 1
    ctx["list"].append(2)
    _ = ctx["big"]
    del ctx["gone"]
    delta = ctx.collect()
    assert {key: decode(bytes(raw)) for key, raw in delta.set.items()} == {"list": [1, 2], "new": 1}
    assert delta.unset == ("gone",)


def test_setting_the_same_value_is_no_change() -> None:
    """What is in the log already is not written again."""
    ctx = Context.attached(encoded({"a": [1]}), Recorder())
    ctx["a"] = [1]
    assert not ctx.collect()


def test_a_key_that_went_and_came_back_is_the_last() -> None:
    """As in a dict; also with the value that it had."""
    pair = Pair({"a": 1, "b": 2})
    pair.ctx["a"] = pair.ctx.pop("a")
    delta = pair.save()
    assert (list(delta.set), delta.unset) == (["a"], ("a",))
    assert list(decoded(pair.saved).items()) == list(pair.ctx.items()) == [("b", 2), ("a", 1)]


def test_a_key_that_came_and_went_leaves_nothing() -> None:
    """Nobody ever needs to know."""
    ctx = Context.attached({}, Recorder())
    ctx["a"] = 1
    del ctx["a"]
    assert ctx.collect() == NO_CHANGE


def test_a_value_is_copied_when_it_is_set() -> None:
    """The caller may go on with its own object."""
    mine = [1]
    ctx = Context({"a": mine})
    ctx["b"] = mine
    mine.append(2)
    assert dict(ctx) == {"a": [1], "b": [1]}


def test_what_is_read_is_the_contexts_own_object() -> None:
    """`get`, `[]` and `setdefault` hand out the same."""
    ctx = Context({"a": []})
    assert ctx["a"] is ctx.get("a") is ctx.setdefault("a", [1])
    ctx.setdefault("b", []).append(1)
    assert ctx["b"] == [1]
    assert ctx.get("nothing") is None


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"a": (1,)}, r"context\['a'\]: a tuple"),
        ({"a": [{"b": {1}}]}, r"context\['a'\]\[0\]\['b'\]: a set"),
        ({1: 2}, r"context: the key 1 is not a str"),
        ({"\ud800": 2}, r"context: the key .* has a lone surrogate"),
    ],
)
def test_bad_values_are_refused_with_their_path(values: dict[str, Any], path: str) -> None:
    """At the start, when they are set, and by an operator's change."""
    with pytest.raises(ContextError, match=f"^{path}"):
        Context(values)
    ctx = Context({"kept": 1})
    with pytest.raises(ContextError, match=f"^{path}"):
        ctx.update(values)
    assert dict(ctx) == {"kept": 1}
    with pytest.raises(ContextError, match=f"^{path}"):
        Delta.of(values)


def test_a_bad_value_put_inside_is_found_when_it_is_saved() -> None:
    """It is the change that is refused, with the path."""
    ctx = Context({"a": {"b": []}})
    ctx["a"]["b"].append({1, 2})
    with pytest.raises(ContextError, match=r"^context\['a'\]\['b'\]\[0\]: a set"):
        ctx.collect()


@pytest.mark.parametrize("given_", [[("a", 1)], "text", 5], ids=repr)
def test_a_change_is_made_of_a_mapping(given_: Any) -> None:
    """Nothing else is guessed at."""
    with pytest.raises(ContextError, match=rf"^values: a {type(given_).__name__} is not a mapping"):
        Delta.of(given_, where="values")


def test_one_key_to_unset_may_be_given_as_it_is() -> None:
    """Its letters are not the keys."""
    assert Delta.of({}, "abc").unset == ("abc",)
    assert Delta.of({}, iter(["a", "b"])).unset == ("a", "b")


def test_a_key_to_unset_is_checked_too() -> None:
    """Before anything is written."""
    not_a_key: Any = 1
    with pytest.raises(ContextError, match=r"^context: the key 1 is not a str"):
        Delta.of({}, [not_a_key])


async def test_a_context_without_an_engine_serves_unit_tests() -> None:
    """`work` can be called with it: output goes nowhere, a checkpoint keeps the changes, nobody wants a stop."""
    ctx = Context({"a": 1})
    ctx["b"] = 2
    ctx.output("text")
    await ctx.checkpoint()
    assert ctx.collect() == NO_CHANGE
    assert dict(ctx) == {"a": 1, "b": 2}
    assert not ctx.stop_requested
    assert (ctx.workflow, ctx.step, ctx.log) == ("test", StepInfo(1, "step", 1, "test"), logging.getLogger("awfe"))


async def test_a_context_of_an_attempt_passes_on_to_it() -> None:
    """Output as text, checkpoints, and whether a stop is wanted."""
    recorder, step = Recorder(), StepInfo(2, "Copy", 3, "k")
    ctx = Context.attached(encoded({"a": 1}), recorder, workflow="deploy", step=step)
    ctx.output("5")
    ctx["b"] = 2
    await ctx.checkpoint()
    recorder.stop_requested = True
    assert recorder.printed == ["5"]
    assert [delta.set.keys() for delta in recorder.saved] == [{"b"}]
    assert ctx.stop_requested
    assert (ctx.workflow, ctx.step, ctx.log) == ("deploy", step, recorder.log)


async def test_a_context_without_an_engine_has_no_workflows_of_its_own() -> None:
    """The message says what is missing."""
    ctx = Context()
    with pytest.raises(
        InvalidInput, match=r"^'part': a workflow of its own needs an engine, and this context has none"
    ):
        await ctx.child("part", {}, [])
    with pytest.raises(InvalidInput, match=r"^'part': a workflow of its own needs an engine"):
        await ctx.undo_child("part")


async def test_a_context_of_an_attempt_begins_workflows_of_its_step() -> None:
    """And rolls them back."""
    recorder = Recorder()
    ctx = Context.attached({}, recorder)
    assert await ctx.child("part", {"a": 1}, ["step"]) == "part"
    await ctx.undo_child("part")
    assert recorder.children == [("part", {"a": 1}, ["step"]), ("part",)]


def test_a_change_can_be_taken_but_for_some_keys() -> None:
    """What an operator has set since stays as he left it."""
    assert Delta.of({"a": 1, "b": 2}, ["c", "d"]).without({"a", "c"}) == Delta.of({"b": 2}, ["d"])


def test_a_context_shows_its_values() -> None:
    """In logs and at a prompt."""
    assert repr(Context({"a": [1]})) == "Context({'a': [1]})"


def test_the_size_counts_keys_and_values() -> None:
    """And follows what is set and deleted."""
    ctx = Context()
    assert ctx.size == 0
    ctx["k"] = "x" * 100
    assert 100 < ctx.size < 120
    assert ctx.size == size_of(encoded({"k": "x" * 100}))
    del ctx["k"]
    assert ctx.size == 0


def test_a_checkpoint_for_each_key_costs_what_it_saves() -> None:
    ctx = Context.attached(Encoded(encoded({f"old{n}": n for n in range(100)})), Recorder())
    for number in range(50):
        ctx[f"new{number}"] = number
        delta = ctx.collect()
        assert list(delta.set) == [f"new{number}"]
        ctx.commit(delta)
        assert ctx._touched == {}
    assert ctx.collect() == NO_CHANGE
