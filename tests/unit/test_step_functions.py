"""Functions as steps: what `@step` makes of them, and what it refuses."""

from typing import Any, cast

import pytest

from awfe.domain import registry
from awfe.domain.context import Context
from awfe.domain.functions import step
from awfe.domain.step import BaseStep, Policies, StepSpec, called, policies_of, save
from awfe.errors import InvalidInput

HERE = __name__


@step
async def greet(ctx: Context, name: str, times: int = 1) -> None:
    """Greet somebody."""
    ctx["greeting"] = f"hello {name}" * times


@step(name="acme.collect", aliases=("acme.gather",), timeout=5, on_error="skip")
async def collect(ctx: Context, tags: list[str] = ["a"], *, extra: dict[str, int] | None = None) -> None:  # noqa: B006 - awfe copies it
    """Collect tags."""
    tags.append("more")
    ctx["tags"], ctx["extra"] = tags, extra


async def test_a_function_becomes_a_step() -> None:
    """Its further parameters are the arguments."""
    saved = save(1, greet("ann", times=2))
    assert saved == StepSpec(1, "greet", f"{HERE}:greet", b'{"name":"ann","times":2}', b"{}")
    ctx = Context()
    await saved.load().work(ctx)
    assert ctx["greeting"] == "hello annhello ann"
    assert (greet.__module__, greet.__doc__) == (HERE, "Greet somebody.")


async def test_defaults_of_a_function_are_not_shared() -> None:
    """Each step has its own list."""
    first, second = Context(), Context()
    await collect().work(first)
    await collect().work(second)
    assert second["tags"] == ["a", "more"]
    assert save(1, collect).args == b'{"tags":["a"],"extra":null}'


def test_a_function_may_have_a_name_and_policies() -> None:
    """As a class has."""
    assert save(1, collect()).impl == "acme.collect"
    assert registry.find("acme.gather") is collect
    assert policies_of(collect()) == Policies(timeout=5, on_error="skip")


async def test_what_a_function_returns_is_passed_on() -> None:
    """So that the runner can refuse it."""

    async def answer(ctx: Context) -> int:
        return len(ctx)

    made: BaseStep = step(cast("Any", answer))()
    result: object = await made.work(Context({"a": 1}))
    assert result == 1


def test_a_parameter_named_like_a_policy_is_refused() -> None:
    """As a field is."""

    @step
    async def patient(ctx: Context, timeout: int) -> None:  # noqa: ASYNC109 - that is the mistake
        pass

    with pytest.raises(InvalidInput, match=r"the field 'timeout' is named like a policy"):
        save(1, patient(5))


def test_unknown_options_are_refused() -> None:
    """The message tells which there are."""
    with pytest.raises(InvalidInput, match=r"^@step: unknown retries, zzz; the policies are timeout, retry, "):
        step(retries=5, zzz=1)(greet_again)


async def greet_again(ctx: Context) -> None:
    """Do nothing."""


async def starred(ctx: Context, *names: str) -> None:
    """Do nothing."""


async def double_starred(ctx: Context, **names: str) -> None:
    """Do nothing."""


@pytest.mark.parametrize("function", [starred, double_starred])
def test_parameters_without_a_name_are_refused(function: Any) -> None:
    """They can't be saved."""
    with pytest.raises(InvalidInput, match=r"no \*args, no \*\*kwargs"):
        step(function)


def test_only_an_async_function_becomes_a_step() -> None:
    """A class has `BaseStep`."""

    def blocking(ctx: Context) -> None:
        pass

    for wrong in (blocking, 5, BaseStep):
        with pytest.raises(InvalidInput, match=r"^@step needs an async function, not "):
            step(cast("Any", wrong))


def test_only_a_function_without_arguments_is_one_object_each_time() -> None:
    """A class may keep something in itself while it runs, one that is derived from a function's too."""

    @step(name="test.once")
    async def once(ctx: Context) -> None:
        pass

    derived: Any = type("Derived", (cast("type[Any]", once),), {"__module__": __name__}, name="test.derived")
    for kind, is_one in ((once, True), (derived, False)):
        spec = save(1, kind())
        assert (spec.load() is spec.load()) == is_one
        assert type(spec.load()) is kind
        named = save(1, kind().named("other")).load()
        assert named is not spec.load()
        assert called(named) == "other"
        assert called(spec.load()) == kind.__name__
