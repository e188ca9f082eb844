"""The context: what a step sees is what it would see after a reload, and only what it changed is saved."""

import asyncio
import logging
from collections.abc import Awaitable
from copy import deepcopy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from awfe.domain.context import NO_CHANGE, Context, Delta, StepInfo, size_of
from awfe.domain.values import decode, encode
from awfe.errors import ContextError
from tests.unit.strategies import same, values

# Few keys, so that they meet again and again.
keys = st.sampled_from(["a", "b", "c", "d"])
small = st.dictionaries(keys, values, max_size=4)
deltas = st.builds(Delta.of, small, st.lists(keys, max_size=3))
changes = st.lists(
    st.one_of(
        st.tuples(st.just("set"), keys, values),
        st.tuples(st.just("delete"), keys, st.none()),
        st.tuples(st.just("mutate"), keys, values),
        st.tuples(st.just("mutate deeper"), keys, values),
        st.tuples(st.just("keep"), keys, st.none()),
        st.tuples(st.just("mutate what was kept"), keys, values),
        st.tuples(st.just("setdefault"), keys, values),
        st.tuples(st.just("pop"), keys, st.none()),
        st.tuples(st.just("move to the end"), keys, st.none()),
        st.tuples(st.just("checkpoint"), keys, st.none()),
    ),
    max_size=25,
)


class Recorder:
    """What an attempt offers to its context: this one remembers."""

    def __init__(self) -> None:
        """Begin with nothing printed and nothing saved."""
        self.printed: list[str] = []
        self.saved: list[Delta] = []
        self.stop_requested = False

    def output(self, text: str) -> None:
        """Remember a text."""
        self.printed.append(text)

    def checkpoint(self, ctx: Context) -> Awaitable[None]:
        """Remember a change."""
        self.saved.append(ctx.collect())
        ctx.commit(self.saved[-1])
        return asyncio.sleep(0)


def encoded(plain: dict[str, Any]) -> dict[str, bytes]:
    """Return values as the log keeps them."""
    return {key: encode(value, key) for key, value in plain.items()}


def decoded(saved: dict[str, bytes]) -> dict[str, Any]:
    """Return values as a reader gets them."""
    return {key: decode(data) for key, data in saved.items()}


def mutate(value: Any, addition: Any, *, deeper: bool) -> None:
    """Change a list or a dict in place, or one inside of it; other values can't be changed."""
    inside = list(value.values() if isinstance(value, dict) else value) if isinstance(value, (dict, list)) else []
    inner = [each for each in inside if isinstance(each, (dict, list))]
    if deeper and inner:
        mutate(inner[0], addition, deeper=True)
    elif isinstance(value, list):
        value.append(deepcopy(addition))
    elif isinstance(value, dict):
        value["new"] = deepcopy(addition)


class Pair:
    """A context beside an ordinary dict, with the same done to both; what it saves goes to `saved`."""

    def __init__(self, start: dict[str, Any]) -> None:
        """Begin with the same values in both."""
        self.model = deepcopy(start)
        self.saved = encoded(start)
        self.ctx = Context.attached(self.saved, Recorder())
        self.kept: list[tuple[Any, Any]] = []

    def do(self, what: str, key: str, value: Any) -> None:
        """Do one thing to both."""
        if what == "set":
            self.ctx[key] = value
            self.model[key] = deepcopy(value)
        elif what == "setdefault":
            assert same(self.ctx.setdefault(key, value), self.model.setdefault(key, deepcopy(value)))
        elif what == "checkpoint":
            self.save()
        elif what == "mutate what was kept":
            for mine, model in self.kept:
                mutate(mine, value, deeper=False)
                mutate(model, value, deeper=False)
        elif key in self.model:
            self._do_to_what_is_there(what, key, value)
        else:
            assert key not in self.ctx
            with pytest.raises(KeyError):
                del self.ctx[key]

    def _do_to_what_is_there(self, what: str, key: str, value: Any) -> None:
        if what == "delete":
            del self.ctx[key], self.model[key]
        elif what == "pop":
            assert same(self.ctx.pop(key), self.model.pop(key))
        elif what == "move to the end":
            self.ctx[key] = self.ctx.pop(key)
            self.model[key] = deepcopy(self.model.pop(key))
        elif what == "keep":
            self.kept.append((self.ctx[key], self.model[key]))
        else:
            mutate(self.ctx[key], value, deeper=what == "mutate deeper")
            mutate(self.model[key], value, deeper=what == "mutate deeper")

    def save(self) -> Delta:
        """Save what has changed, as a checkpoint does; the change goes through JSON as it does on its way to a row."""
        delta = self.ctx.collect()
        self.ctx.commit(delta)
        msgspec.json.decode(msgspec.json.encode(delta), type=Delta).apply(self.saved)
        return delta


@given(small, changes)
def test_what_is_saved_is_what_the_step_sees(start: dict[str, Any], done: list[tuple[str, str, Any]]) -> None:
    """Values, types and order are those of an ordinary dict, in the context, in the log and after a reload."""
    pair = Pair(start)
    for what, key, value in done:
        pair.do(what, key, value)
    pair.save()
    reloaded = Context.attached(pair.saved, Recorder())
    assert same(decoded(pair.saved), pair.model)
    assert same(dict(pair.ctx), pair.model)
    assert same(dict(reloaded), pair.model)
    assert list(pair.ctx) == list(reloaded) == list(pair.model)
    assert len(pair.ctx) == len(pair.model)


@given(small, changes)
def test_nothing_is_saved_twice(start: dict[str, Any], done: list[tuple[str, str, Any]]) -> None:
    """After a checkpoint, what was only read is no change."""
    pair = Pair(start)
    for what, key, value in done:
        pair.do(what, key, value)
    pair.save()
    dict(pair.ctx)
    assert pair.ctx.collect() == NO_CHANGE


@given(small, changes)
def test_an_attempt_that_fails_has_touched_nothing(start: dict[str, Any], done: list[tuple[str, str, Any]]) -> None:
    """Whatever it did, the committed values are as they were."""
    pair = Pair(start)
    for what, key, value in done:
        if what != "checkpoint":
            pair.do(what, key, value)
    pair.ctx.collect()
    assert same(decoded(pair.saved), start)


@given(small, deltas, deltas)
def test_two_changes_as_one_do_the_same(start: dict[str, Any], first: Delta, second: Delta) -> None:
    """Order of the keys included."""
    one_by_one, at_once = encoded(start), encoded(start)
    first.apply(one_by_one)
    second.apply(one_by_one)
    first.then(second).apply(at_once)
    assert list(one_by_one.items()) == list(at_once.items())


@given(deltas)
def test_a_change_is_true_when_it_changes_something(delta: Delta) -> None:
    """No change is False."""
    assert bool(delta) == bool(delta.set or delta.unset)
    assert not NO_CHANGE


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
    recorder, log, step = Recorder(), logging.getLogger("test"), StepInfo(2, "Copy", 3, "k")
    ctx = Context.attached(encoded({"a": 1}), recorder, workflow="deploy", step=step, log=log)
    ctx.output("5")
    ctx["b"] = 2
    await ctx.checkpoint()
    recorder.stop_requested = True
    assert recorder.printed == ["5"]
    assert [delta.set.keys() for delta in recorder.saved] == [{"b"}]
    assert ctx.stop_requested
    assert (ctx.workflow, ctx.step, ctx.log) == ("deploy", step, log)


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
