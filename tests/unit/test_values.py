"""What can be saved comes back equal; what would not is refused with its path."""

import datetime as dt
import enum
import json
import math
import uuid
from collections import OrderedDict
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from awfe.domain.values import MAX_DEPTH, check_key, decode, encode, is_storable
from awfe.errors import ContextError, InvalidInput
from tests.unit.strategies import same, values


class Colour(enum.StrEnum):
    """A str that would come back as a mere str."""

    RED = "red"


class Level(enum.IntEnum):
    """An int that would come back as a mere int."""

    HIGH = 3


class Name(str):
    """A str with an identity of its own."""

    __slots__ = ()


REFUSED = [
    pytest.param((1, 2), "a tuple can't be saved; use a list", id="tuple"),
    pytest.param({1, 2}, "a set can't be saved; use a list", id="set"),
    pytest.param(frozenset((1, 2)), "a frozenset can't be saved; use a list", id="frozenset"),
    pytest.param(b"x", "a bytes can't be saved; use text", id="bytes"),
    pytest.param(bytearray(b"x"), "a bytearray can't be saved; use text", id="bytearray"),
    pytest.param(dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "a datetime can't be saved", id="datetime"),
    pytest.param(dt.date(2026, 1, 1), "a date can't be saved", id="date"),
    pytest.param(dt.timedelta(1), "a timedelta can't be saved", id="timedelta"),
    pytest.param(Decimal(1), "a Decimal can't be saved", id="decimal"),
    pytest.param(uuid.UUID(int=0), "a UUID can't be saved", id="uuid"),
    pytest.param(math.nan, "nan is not a JSON number", id="nan"),
    pytest.param(math.inf, "inf is not a JSON number", id="inf"),
    pytest.param(-math.inf, "-inf is not a JSON number", id="minus-inf"),
    pytest.param("a\ud800b", "a lone surrogate", id="lone-surrogate"),
    pytest.param(2**64, "an integer beyond 64 bits", id="above-64-bits"),
    pytest.param(-(2**63) - 1, "an integer beyond 64 bits", id="below-64-bits"),
    pytest.param(Colour.RED, "a Colour can't be saved", id="str-enum"),
    pytest.param(Level.HIGH, "a Level can't be saved", id="int-enum"),
    pytest.param(Name("x"), "a Name can't be saved", id="str-subclass"),
    pytest.param(OrderedDict(a=1), "a OrderedDict can't be saved", id="dict-subclass"),
    pytest.param(object(), "a object can't be saved; the values that can be saved are", id="object"),
    pytest.param({1: 2}, "the key 1 is not a str", id="int-key"),
    pytest.param({None: 2}, "the key None is not a str", id="none-key"),
    pytest.param({Colour.RED: 2}, "the key <Colour.RED: 'red'> is not a str", id="enum-key"),
    pytest.param({"\udfff": 2}, r"the key '\\udfff' has a lone surrogate", id="surrogate-key"),
]


@given(values)
@example("\0")
@example({"\0": ["\0\0", "\x7f\x80\u2028\U0010ffff"]})
@example([-0.0, 0.0, 5e-324, 1.7976931348623157e308, 1e22, 0.1])
@example([-(2**63), 2**63, 2**64 - 1, True, 1, 1.0])
def test_every_value_comes_back_the_same(value: Any) -> None:
    """Types, signs and the order of keys included."""
    assert same(decode(encode(value, "it")), value)


@given(values)
def test_what_is_saved_is_json(value: Any) -> None:
    """Whoever looks into the database can read it."""
    assert same(json.loads(encode(value, "it")), value)


@pytest.mark.parametrize(("value", "problem"), REFUSED)
def test_what_would_not_come_back_the_same_is_refused(value: Any, problem: str) -> None:
    """The message names the path and the problem."""
    with pytest.raises(ContextError, match=rf"^context: {problem}"):
        encode(value, "context")


@pytest.mark.parametrize(("value", "problem"), REFUSED)
def test_the_path_leads_to_the_value(value: Any, problem: str) -> None:
    """Through keys and indexes, however deep."""
    with pytest.raises(ContextError, match=rf"^context\['a'\]\[1\]\['b c'\]\[0\]: {problem}"):
        encode({"ok": 1, "a": [None, {"b c": [value]}]}, "context")


@given(st.integers(min_value=2**64) | st.integers(max_value=-(2**63) - 1))
def test_no_integer_beyond_64_bits_is_taken(number: int) -> None:
    """Other programs could not read it."""
    with pytest.raises(ContextError, match=r"^n: an integer beyond 64 bits"):
        encode(number, "n")


@given(st.text(st.characters(categories=["Cs"]), min_size=1, max_size=3), st.text(max_size=3))
def test_no_lone_surrogate_is_taken(surrogates: str, text: str) -> None:
    """Wherever it stands."""
    with pytest.raises(ContextError, match="lone surrogate"):
        encode(text + surrogates, "it")


@given(st.text(st.characters(exclude_categories=["Cs"])), st.booleans())
def test_a_text_is_storable_without_surrogates(text: str, broken: bool) -> None:  # noqa: FBT001 - drawn
    """And not with one."""
    assert is_storable(text + "\ud800" * broken) is not broken


def nested(kind: type, depth: int) -> Any:
    """Return lists or dicts in each other, `depth` levels of them."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind is list else {"k": value}
    return value


@pytest.mark.parametrize("kind", [list, dict])
def test_nesting_has_a_limit(kind: type) -> None:
    """At the limit a value is taken, one level deeper it is refused."""
    at_the_limit = nested(kind, MAX_DEPTH)
    assert decode(encode(at_the_limit, "it")) == at_the_limit
    with pytest.raises(ContextError, match=f"nested deeper than {MAX_DEPTH} levels"):
        encode(nested(kind, MAX_DEPTH + 1), "it")


def test_a_list_that_holds_itself_is_refused() -> None:
    """There is no end to it."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ContextError, match=r"^it\[0\]\[0\].*: nested deeper than"):
        encode(endless, "it")


def test_a_dict_that_holds_itself_is_refused() -> None:
    """There is no end to it either."""
    endless: dict[str, Any] = {}
    endless["me"] = [endless]
    with pytest.raises(ContextError, match=r"^it\['me'\]\[0\].*: nested deeper than"):
        encode(endless, "it")


def test_the_caller_chooses_the_error() -> None:
    """A bad argument of a step is no error of the context."""
    with pytest.raises(InvalidInput) as caught:
        encode({"at": (1,)}, "step 1", InvalidInput)
    assert type(caught.value) is InvalidInput
    with pytest.raises(InvalidInput) as caught:
        check_key(1, "step 1", InvalidInput)
    assert type(caught.value) is InvalidInput
