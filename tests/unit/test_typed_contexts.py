"""Contexts with a type: what fits goes in and comes back, what does not is refused with its path."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any, Generic, NotRequired, TypedDict, TypeVar

import msgspec
import pytest

from awfe import BaseStep, Context, ContextError, InvalidInput, step
from awfe.domain.secret import Secret
from awfe.domain.step import save
from awfe.domain.typed import Face, Shape
from awfe.testing import run_step
from tests.unit.contexts import Recorder, encoded

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


class Colour(Enum):
    """A value that JSON has not."""

    RED = "red"


class Host(msgspec.Struct):
    """One inside another."""

    name: str
    port: int = 22


@dataclass
class Pair:
    """Another inside another."""

    left: int
    right: int


class Deploy(TypedDict):
    """Keys of many kinds."""

    servers: list[str]
    hosts: NotRequired[list[Host]]
    pair: Pair | None
    at: datetime
    ports: dict[int, tuple[int, str]]
    colours: set[Colour]
    share: float
    count: Annotated[int, msgspec.Meta(ge=0)]
    anything: Any


class Release(msgspec.Struct, rename="camel"):
    """Fields, one needed, one that may be absent."""

    new_version: str
    hosts: list[Host] = []
    note: str | msgspec.UnsetType = msgspec.UNSET


class Frozen(msgspec.Struct, frozen=True):
    """One that has its own opinion."""

    low: int
    high: int = 9

    def __post_init__(self) -> None:
        if self.low > self.high:
            msg = "low is above high"
            raise ValueError(msg)


def context(kind: Any, **values: Any) -> Context[Any]:
    """Return the context of an attempt."""
    return Context.attached(encoded(values), Recorder(), Face(Shape(kind)))


def collected(ctx: Context[Any]) -> dict[str, Any]:
    """Return what would be saved."""
    return {key: msgspec.json.decode(raw) for key, raw in ctx.collect().set.items()}


VALUES: dict[str, tuple[Any, Any]] = {
    "servers": (["a"], ["a"]),
    "hosts": ([Host("a", 1)], [{"name": "a", "port": 1}]),
    "pair": (Pair(1, 2), {"left": 1, "right": 2}),
    "at": (NOON, "2026-01-02T12:00:00Z"),
    "ports": ({1: (2, "b")}, {"1": [2, "b"]}),
    "colours": ({Colour.RED}, ["red"]),
    "share": (1, 1),
    "count": (0, 0),
    "anything": ([None, {"a": 1.5}], [None, {"a": 1.5}]),
}


@pytest.mark.parametrize("key", VALUES)
def test_what_fits_goes_in_and_comes_back(key: str) -> None:
    value, saved = VALUES[key]
    ctx = context(Deploy)
    ctx.typed[key] = value
    assert collected(ctx) == {key: saved}
    again = context(Deploy, **{key: saved}).typed
    assert again == {key: value}


@pytest.mark.parametrize("key", VALUES)
def test_what_was_not_changed_is_not_saved(key: str) -> None:
    ctx = context(Deploy, **{key: VALUES[key][1]}, other=[1])
    assert key in ctx.typed
    assert not ctx.collect()


MISFITS = [
    ("servers", "a", "context['servers']: expected `array`, got `str`, says Deploy"),
    ("servers", ["a", 1], "context['servers'][1]: expected `str`, got `int`, says Deploy"),
    ("hosts", [{"name": 1}], "context['hosts'][0].name: expected `str`, got `int`, says Deploy"),
    ("hosts", [{}], "context['hosts'][0]: object missing required field `name`, says Deploy"),
    ("at", "noon", "context['at']: invalid RFC3339 encoded datetime, says Deploy"),
    ("count", -1, "context['count']: expected `int` >= 0, says Deploy"),
    ("count", True, "context['count']: expected `int`, got `bool`, says Deploy"),
    ("share", None, "context['share']: expected `float`, got `null`, says Deploy"),
]


@pytest.mark.parametrize(("key", "value", "message"), MISFITS)
def test_what_does_not_fit_is_refused_whoever_has_set_it(key: str, value: Any, message: str) -> None:
    before = context(Deploy, **{key: value})
    with pytest.raises(ContextError) as refused:
        before.settle()
    assert str(refused.value) == message
    with pytest.raises(ContextError):
        _ = before.typed
    for untyped in (True, False):
        ctx = context(Deploy)
        (ctx if untyped else ctx.typed)[key] = value
        with pytest.raises(ContextError) as refused:
            ctx.collect()
        assert str(refused.value) == message


def test_a_change_inside_a_value_must_fit_too() -> None:
    ctx = context(Deploy, servers=["a"])
    ctx["servers"].append(1)
    with pytest.raises(ContextError, match=r"context\['servers'\]\[1\]: expected `str`"):
        ctx.collect()


@pytest.mark.parametrize("value", [NOON, (1, 2), {1}, float("nan"), object(), b"x", 2**70, Host("a")])
def test_what_would_not_come_back_the_same_is_refused(value: Any) -> None:
    ctx = context(Deploy)
    ctx.typed["anything"] = value
    with pytest.raises(ContextError, match=r"^context\['anything'\]: "):
        ctx.collect()


def test_a_key_that_the_type_has_not_is_refused_with_the_closest() -> None:
    ctx = context(Deploy)
    ctx.typed["server"] = []
    with pytest.raises(ContextError, match=r"context\['server'\]: Deploy has no such key; did you mean 'servers'\?"):
        ctx.collect()
    ctx = context(Deploy)
    ctx["other"] = 1
    assert collected(ctx) == {"other": 1}


def test_what_was_removed_is_removed() -> None:
    ctx = context(Deploy, servers=[], count=1)
    del ctx.typed["servers"]
    assert ctx.collect().unset == ("servers",)
    release = context(Release, newVersion="1", note="x")
    release.typed.note = msgspec.UNSET
    assert release.collect().unset == ("note",)


def test_what_a_checkpoint_saved_is_not_saved_again() -> None:
    ctx = context(Deploy, servers=[])
    made = ctx.typed
    made["servers"].append("a")
    ctx.commit(ctx.collect())
    assert not ctx.collect()
    made["servers"].append("b")
    assert collected(ctx) == {"servers": ["a", "b"]}
    assert ctx.typed is made


def test_a_struct_is_one_with_its_names_and_defaults() -> None:
    ctx = context(Release, newVersion="1", other=2)
    assert ctx.typed == Release("1")
    assert not ctx.collect()
    ctx.typed.hosts.append(Host("a"))
    ctx.typed.new_version = "2"
    assert collected(ctx) == {"newVersion": "2", "hosts": [{"name": "a", "port": 22}]}
    assert ctx["newVersion"] == "2"


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (Release, {}, "context['newVersion'] is not set, and Release needs it: set it, or give the field a default"),
        (Frozen, {"low": 10}, "the context does not fit Frozen: low is above high"),
    ],
)
def test_a_struct_that_can_not_be_made_says_why(kind: Any, values: dict[str, Any], message: str) -> None:
    ctx = context(kind, **values)
    ctx.settle()
    with pytest.raises(ContextError) as refused:
        _ = ctx.typed
    assert str(refused.value) == message


async def test_a_secret_is_a_text_and_stays_a_secret() -> None:
    @step
    async def use(ctx: Context[Deploy]) -> None:
        assert ctx.typed["servers"] == ["t0p secret"]
        ctx.typed["servers"].append("b")
        ctx.typed["anything"] = ctx.typed["servers"][0]

    done = await run_step(use(), {"servers": [Secret("S")]}, secrets={"S": "t0p secret"})
    assert done.context == {"servers": [Secret("S"), "b"], "anything": Secret("S")}


def test_a_step_is_tested_with_a_context_that_has_the_type() -> None:
    ctx = Context[Deploy]({"count": 1})
    ctx.typed["count"] += 1
    assert collected(ctx) == {"count": 2}
    with pytest.raises(InvalidInput, match=r"make a Context\[MyContext\]"):
        _ = Context({"count": 1}).typed


A = TypeVar("A", bound=Mapping[str, object])
B = TypeVar("B")


class Both(BaseStep[A], Generic[B, A]):
    """A base with parameters of its own."""


class Derived(Both[int, Deploy]):
    """It gives them."""

    async def work(self, ctx: Context[Deploy]) -> None:
        """Use the type."""
        ctx.typed["count"] = 1


class Further(Derived):
    """It inherits them."""


@dataclass(slots=True)
class Slotted(BaseStep[Deploy]):
    """A class that is made twice."""

    count: int

    async def work(self, ctx: Context[Deploy]) -> None:
        """Use the type."""
        ctx.typed["count"] = self.count


@step
async def quoted(ctx: "Context[Deploy]", count: int) -> None:
    """Have annotations that are texts."""
    ctx.typed["count"] = count


@pytest.mark.parametrize("given", [Derived, Further, Slotted(1), quoted(1)])
async def test_a_type_is_found_however_it_is_declared(given: Any) -> None:
    assert (await run_step(given)).context == {"count": 1}
    with pytest.raises(ContextError):
        await run_step(given, {"count": "x"})


class Ambiguous(TypedDict):
    """Two that no JSON can be told apart for."""

    host: Host | Release


@pytest.mark.parametrize("kind", [int, dict[str, int], Ambiguous, list])
def test_what_can_not_be_the_type_of_a_context_is_refused_when_it_is_saved(kind: Any) -> None:
    base: Any = BaseStep

    class Bad(base[kind]):  # type: ignore[misc]
        async def work(self, ctx: Context) -> None: ...

    with pytest.raises(InvalidInput, match="can't be the type of a context"):
        save(1, Bad)


def test_an_annotation_that_names_nothing_is_refused() -> None:
    async def lost(ctx: "Context[Nowhere]") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(InvalidInput, match=r"lost: name 'Nowhere' is not defined; what its annotations name must be"):
        step(lost)
