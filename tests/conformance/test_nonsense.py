"""Bad input is refused whole, with an error that says what to do."""

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import make_url

from awfe import (
    BaseStep,
    ConfigError,
    Context,
    ContextError,
    Engine,
    InvalidInput,
    StepError,
    WorkflowNotFound,
    step,
)
from tests.conformance.steps import Note
from tests.databases import Database


class NoWork(BaseStep):
    """Forgot its work."""


class SyncWork(BaseStep):
    """Forgot the async."""

    def work(self, ctx: Context) -> None:  # type: ignore[override]  # what is tested
        """Work at once."""


@step(name="tests.longest")
async def _longest(ctx: Context, part: str, length: int) -> None:
    """Fail with all that can be as long as it may be, and longer in a document."""
    ctx["a"] = (part * length)[:length]
    ctx.output("\x01" * (1 << 16))
    raise ValueError("\x01" * (1 << 16))


class Stateful(BaseStep):
    """Keeps what is lost."""

    def __init__(self, command: str) -> None:
        self.command = command

    async def work(self, ctx: Context) -> None:
        """Do nothing."""


async def rests(engine: Engine) -> None:
    """Assert that nothing was written."""
    assert await engine.list() == []
    with pytest.raises(WorkflowNotFound):
        await engine.get("w")


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", "a\0", "\x7f", "\x85", "\ud800", None, 5, b"w", ["w"]])
async def test_names(engine: Engine, name: Any) -> None:
    with pytest.raises(InvalidInput, match="the workflow name"):
        await engine.create_workflow(name, {}, [Note("one")])
    await rests(engine)


async def test_a_name_of_200_characters_is_taken(engine: Engine) -> None:
    name = "\N{GRINNING FACE}" * 200
    await engine.create_workflow(name, {}, [Note("one")])
    assert (await engine.run(name)).name == name


@pytest.mark.parametrize(
    ("steps", "match"),
    [
        ([], "at least one"),
        (None, "give a list of steps"),
        ("steps", "give a list of steps"),
        (Note, "give a list of steps"),
        ([Note("one"), "two"], "step 2: 'two' is not a step"),
        ([print], "is not a step"),
        ([Note], "step 1: Note needs its arguments"),
        ([NoWork], "write 'async def work"),
        ([SyncWork], "write 'async def work"),
        ([Stateful("x")], "make it a dataclass"),
        ([Note("one"), Note("two", {"when": datetime(2026, 1, 1)})], r"step 2 \(Note\)\['values'\]\['when'\]"),  # noqa: DTZ001 - what is tested
        ([Note("one", {"t": (1, 2)})], "use a list"),
    ],
)
async def test_steps(engine: Engine, steps: Any, match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        await engine.create_workflow("w", {}, steps)
    await rests(engine)


@pytest.mark.parametrize(
    "policies", [{"timeout": 0}, {"timeout": "5"}, {"retry": 3}, {"on_error": "go"}, {"tiemout": 1}]
)
def test_policies(policies: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Note("one").using(**policies)


@pytest.mark.parametrize(
    ("context", "path"),
    [
        ({"a": {"b": [1, (2,)]}}, r"context\['a'\]\['b'\]\[1\]"),
        ({"a": {1, 2}}, r"context\['a'\]: a set"),
        ({"a": datetime(2026, 1, 1)}, r"context\['a'\]: a datetime"),  # noqa: DTZ001 - what is tested
        ({"a": b"x"}, r"context\['a'\]: a bytes"),
        ({"a": float("nan")}, r"context\['a'\]: nan"),
        ({"a": [float("inf")]}, r"context\['a'\]\[0\]: inf"),
        ({"a": "\ud800"}, r"context\['a'\]: a lone surrogate"),
        ({"a": 2**64}, r"context\['a'\]: an integer beyond 64 bits"),
        ({"a": {5: 1}}, r"context\['a'\]: the key 5"),
        ({5: 1}, "context: the key 5"),
        ([("a", 1)], "a list is not a mapping"),
        ("text", "a str is not a mapping"),
    ],
)
async def test_contexts(engine: Engine, context: Any, path: str) -> None:
    with pytest.raises(ContextError, match=path):
        await engine.create_workflow("w", context, [Note("one")])
    await rests(engine)
    await engine.create_workflow("w", {}, [Note("one")])
    with pytest.raises(ContextError, match=path):
        await engine.update_context("w", context)
    with pytest.raises(ContextError, match=path):
        await engine.skip("w", context=context)
    assert (await engine.get("w")).state == "pending"


async def test_resets(engine: Engine) -> None:
    await engine.create_workflow("w", {}, [Note("one")])
    await engine.run("w")
    for from_step in (0, 2, -1, True, "1", 1.0):
        with pytest.raises(InvalidInput, match=f"from_step={from_step!r}.*steps 1 to 1"):
            await engine.reset("w", from_step)  # type: ignore[arg-type]  # what is tested
    with pytest.raises(InvalidInput, match="keep_context is for the current step"):
        await engine.reset("w", 1, keep_context=True)
    for verb in (
        engine.run,
        engine.start,
        engine.pause,
        engine.stop,
        engine.reset,
        engine.skip,
        engine.delete,
        engine.wait,
    ):
        with pytest.raises(WorkflowNotFound, match="'nothing'"):
            await verb("nothing")


async def test_unset_may_be_one_key_and_a_missing_key_is_no_error(engine: Engine) -> None:
    await engine.create_workflow("w", {"abc": 1, "a": 2}, [Note("one")])
    assert (await engine.update_context("w", {}, unset="abc")).context == {"a": 2}
    assert (await engine.update_context("w", {}, unset=["none"])).context == {"a": 2}


async def test_a_redirect_that_can_not_write_is_refused(database: Database) -> None:
    with pytest.raises(ConfigError, match="redirect="):
        Engine(database.url, redirect=5)  # type: ignore[arg-type]  # what is tested


@pytest.mark.databases("mysql", "postgresql")
async def test_more_places_than_the_server_has_connections_are_warned_of(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with Engine(database.url, max_running=5_000):
        assert "raise its max_connections" in caplog.text


@pytest.mark.databases("mysql")
async def test_the_context_is_bounded_by_what_a_statement_can_carry(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with Engine(database.url, max_context_bytes=1 << 29) as engine:
        assert "max_context_bytes is lowered to" in caplog.text
        assert engine._database.max_context_bytes < 1 << 24
        with pytest.raises(ContextError, match="max_context_bytes"):
            await engine.create_workflow("w", {"a": "x" * (1 << 24)}, [Note("one")])
        text = "\\'\0" * (engine._database.max_context_bytes // 12)
        await engine.create_workflow("w", {"a": text}, [Note("one")])
        assert (await engine.get("w")).context == {"a": text}
        quotes = "\"'" * (engine._database.max_context_bytes // 3 - 10)
        await engine.create_workflow("longest", {}, [_longest(quotes[:100], len(quotes))])
        with pytest.raises(StepError):
            await engine.run("longest")
        failed = (await engine.get("longest")).steps[0]
        assert failed.changes.set == {"a": quotes}
        assert len(failed.output) == 1 << 16


@pytest.mark.parametrize("name", [0, False, 5, None, b"precious", "\ud800"])
async def test_what_is_no_name_acts_on_nothing(engine: Engine, name: Any) -> None:
    """A server takes 0 for every name that begins without a digit."""
    await engine.create_workflow("precious", {}, [Note("one")])
    verbs: list[Any] = [
        *(engine.run, engine.start, engine.wait, engine.pause, engine.stop, engine.reset, engine.restart, engine.skip),
        *(engine.delete, engine.get, engine.history),
    ]
    for verb in verbs:
        with pytest.raises(InvalidInput, match="can't be the name of a workflow"):
            await verb(name)
    with pytest.raises(InvalidInput):
        await engine.update_context(name, {"a": 1})
    (summary,) = await engine.list()
    assert (summary.name, summary.state) == ("precious", "pending")


@pytest.mark.parametrize(
    "call",
    [
        lambda engine: engine.list(after=5),
        lambda engine: engine.list(after="\ud800"),
        lambda engine: engine.list(name_prefix=b"a"),
        lambda engine: engine.wait("w", timeout="soon"),
        lambda engine: engine.wait("w", timeout=-1),
        lambda engine: engine.reset("w", keep_context="yes"),
        lambda engine: engine.reset("w", context=[]),
        lambda engine: engine.skip("w", context=0),
        lambda engine: engine.skip("w", actor=5),
        lambda engine: engine.skip("w", reason=b"why"),
        lambda engine: engine.update_context("w", {}, unset=5),
        lambda engine: engine.update_context("w", {}, unset=[5]),
    ],
)
async def test_wrong_types_are_refused(engine: Engine, call: Any) -> None:
    await engine.create_workflow("w", {}, [Note("one")])
    before = await engine.get("w")
    with pytest.raises(InvalidInput):
        await call(engine)
    assert await engine.get("w") == before


async def test_hooks_take_ctx(engine: Engine) -> None:
    async def nothing() -> None:
        pass

    for register in (engine.before_step, engine.after_step, engine.observer):
        with pytest.raises(InvalidInput):
            register(nothing)  # type: ignore[arg-type]  # what is tested


@pytest.mark.databases("mysql", "postgresql")
async def test_urls_that_are_almost_right(database: Database) -> None:
    url = make_url(database.url)
    for wrong, match in (
        (url.set(database=""), "names no database"),
        (url.set(port=99_999), "not a port"),
    ):
        with pytest.raises(ConfigError, match=match):
            Engine(wrong)
    engine = Engine(url.set(query={"no_such_argument": "s3cr3t", "password": "s3cr3t"}))
    assert "s3cr3t" not in repr(engine)
    with pytest.raises(ConfigError, match="the driver does not take") as failure:
        await engine.open()
    assert "s3cr3t" not in str(failure.value)
