"""Changes of a context, drawn at random: they do what the same does to an ordinary dict."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from awfe.domain.context import Context
from awfe.domain.delta import NO_CHANGE, Delta
from tests.unit.contexts import Pair, Recorder, decoded, encoded
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
