"""Data at the limits of what databases take comes back as it was; what can't is refused before anything is written."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from awfe import Context, ContextError, Engine, InvalidInput, StepError, step
from awfe.domain.values import MAX_DEPTH
from tests.conformance.steps import Note, World
from tests.databases import Database

LIMIT = 1 << 16
# What servers, drivers and SQL give a meaning to.
SPECIAL = "\0'\"\\`%s%(a)s:name?{}\n\r\t\x1a\x7f\x80\u2028\ufeff\ufffe\uffff\N{GRINNING FACE}\U0010ffff"
TEXTS = {
    "64 KiB - 1": "x" * (LIMIT - 1),
    "64 KiB": "x" * LIMIT,
    "64 KiB + 1": "x" * (LIMIT + 1),
    "64 KiB of bytes, across a character": "x" + "é" * (LIMIT // 2),
    "64 KiB of what has to be quoted": "'\\" * (LIMIT // 2),
    "64 KiB of NUL": "\0" * LIMIT,
    "six times as long as JSON, twice of that in SQL": "\0" * 200_000,
    "special": SPECIAL,
    "padded": " \t a \t ",
}
NUMBERS = [
    0,
    -0.0,
    0.0,
    1,
    1.0,
    True,
    -(2**63),
    2**63 - 1,
    2**63,
    2**64 - 1,
    2**53 + 1,
    0.1,
    5e-324,
    1.7976931348623157e308,
]


def nested(levels: int) -> Any:
    """Return a list in a list, so many of them."""
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


GOOD: dict[str, Any] = {
    **TEXTS,
    "numbers": NUMBERS,
    # It stands in a dict, and that in another among the arguments of a step.
    "as deep as may be": nested(MAX_DEPTH - 3),
    "empty": ["", [], {}, None, {"": ""}],
    "many": [{"n": n} for n in range(10_000)],
    "": "a key of nothing",
    SPECIAL: "a key of everything",
    "k" * 10_000: "a long key",
}


class Subclass(str):
    """A str that would come back as a mere str."""

    __slots__ = ()


BAD: dict[str, Any] = {
    "NaN": math.nan,
    "infinity": [-math.inf],
    "a lone surrogate": "a\ud800b",
    "a surrogate pair in two halves": {"\ud83d\ude00": 1},
    "too deep": nested(MAX_DEPTH + 1),
    "far too deep": nested(100_000),
    "a naive date": datetime(2026, 3, 29, 2, 30),  # noqa: DTZ001 - what is tested
    "an aware date": datetime(2026, 3, 29, 2, 30, tzinfo=UTC),
    "a number beyond 64 bits": 2**64,
    "bytes": b"\0",
    "a subclass": Subclass("x"),
    "a key that is no str": {1: 1},
}


@step(name="tests.nonsense.saves")
async def saves(ctx: Context, kind: str) -> None:
    """Set all that is good, in one of the ways."""
    if kind == "checkpoint":
        ctx["good"] = GOOD
        await ctx.checkpoint()
    elif kind == "in place":
        ctx.setdefault("good", {}).update(GOOD)
    else:
        ctx["good"] = GOOD


@step(name="tests.nonsense.spoils")
async def spoils(ctx: Context, which: str, kind: str) -> None:
    """Set something that can't be saved, in one of the ways."""
    ctx["before"] = 1
    if kind == "set":
        ctx["bad"] = BAD[which]
    else:
        ctx["list"].append(BAD[which])
    if kind == "checkpoint":
        await ctx.checkpoint()


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[Engine]:
    """Yield an engine whose contexts may take 5 MiB."""
    World.now = World()
    async with Engine(database.url, max_context_bytes=5 << 20, shutdown_grace=0.1) as engine:
        yield engine


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are equal, types and signs included."""
    return repr(one) == repr(other)


async def created(engine: Engine) -> None:
    """Give it with the workflow."""
    await engine.create_workflow("w", {"good": GOOD}, [Note("one")])


async def updated(engine: Engine) -> None:
    """Give it by an operator's edit."""
    await engine.create_workflow("w", {}, [Note("one")])
    await engine.update_context("w", {"good": GOOD})


async def skipped(engine: Engine) -> None:
    """Give it for a step that is passed over."""
    await engine.create_workflow("w", {}, [Note("one"), Note("two")])
    await engine.skip("w", context={"good": GOOD})


async def reset(engine: Engine) -> None:
    """Give it with a reset."""
    await engine.create_workflow("w", {}, [Note("one")])
    await engine.run("w")
    await engine.reset("w", 1, context={"good": GOOD})


async def taken_over(engine: Engine) -> None:
    """Set it in an attempt that fails, and take it over."""
    await engine.create_workflow("w", {}, [Note("one", {"good": GOOD})])
    World.now.failing["one"] = ValueError("no")
    with pytest.raises(StepError):
        await engine.run("w")
    await engine.reset("w", keep_context=True)


def stepped(kind: str) -> Callable[[Engine], Awaitable[None]]:
    """Set it in a step."""

    async def run(engine: Engine) -> None:
        await engine.create_workflow("w", {}, [saves(kind)])
        await engine.run("w")

    return run


WAYS: dict[str, Callable[[Engine], Awaitable[None]]] = {
    **{way.__name__: way for way in (created, updated, skipped, reset, taken_over)},
    **{kind: stepped(kind) for kind in ("set", "in place", "checkpoint")},
}


@pytest.mark.parametrize("way", WAYS)
async def test_what_goes_in_comes_out(engine: Engine, database: Database, way: str) -> None:
    await WAYS[way](engine)
    async with Engine(database.url) as other:
        workflow = await other.get("w")
        assert same(workflow.context["good"], GOOD)
        assert [event for event in await other.history("w") if same(event.changes.set.get("good"), GOOD)]


async def test_arguments_go_in_and_come_out(engine: Engine, database: Database) -> None:
    await engine.create_workflow("w", {}, [Note("one", GOOD)])
    async with Engine(database.url, max_context_bytes=5 << 20) as other:
        workflow = await other.run("w")
    assert same(workflow.steps[0].args["values"], GOOD)
    assert same(workflow.context, GOOD)


@pytest.mark.parametrize("kind", ["set", "in place", "checkpoint"])
async def test_what_a_step_can_not_save_is_its_failure(engine: Engine, kind: str) -> None:
    for number, which in enumerate(BAD):
        name = f"w{number}"
        await engine.create_workflow(name, {"list": []}, [spoils(which, kind), Note("never")])
        with pytest.raises(StepError) as failure:
            await engine.run(name)
        assert isinstance(failure.value.__cause__, ContextError), which
        workflow = await engine.get(name)
        assert (workflow.state, workflow.position, workflow.context) == ("error", 1, {"list": []}), which
        assert (await engine.skip(name)).position == 2, "an operator goes on"
    assert World.now.calls == []


async def test_what_an_operator_can_not_save_changes_nothing(engine: Engine) -> None:
    await engine.create_workflow("w", {"a": 1}, [Note("one"), Note("two")])
    before = await engine.get("w"), await engine.history("w")
    verbs: list[Callable[[Any], Awaitable[object]]] = [
        lambda given: engine.create_workflow("other", {"bad": given}, [Note("one")]),
        lambda given: engine.create_workflow("other", {}, [Note("one", {"bad": given})]),
        lambda given: engine.update_context("w", {"ok": 1, "bad": given}),
        lambda given: engine.skip("w", context={"ok": 1, "bad": given}),
        lambda given: engine.reset("w", 1, context={"ok": 1, "bad": given}),
    ]
    for value in BAD.values():
        for verb in verbs:
            with pytest.raises(InvalidInput):
                await verb(value)
    assert (await engine.get("w"), await engine.history("w")) == before
    assert [summary.name for summary in await engine.list()] == ["w"]
