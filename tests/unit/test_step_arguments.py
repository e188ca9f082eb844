"""What of a step can be saved as its arguments, and what is refused before anything is written."""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from awfe import BaseStep, Context, InvalidInput, step
from awfe.domain import step as steps
from awfe.domain.registry import find


@step
async def mixed(ctx: Context, a: int, b: list[int] = [1], *, c: str = "c", d: bool) -> None:  # noqa: B006 - what is tested
    """Take every kind of parameter that has a name."""
    ctx["got"] = [a, b, c, d]


def test_parameters_become_fields() -> None:
    made = mixed(1, d=True)
    spec = steps.save(1, made)
    assert spec.args == b'{"a":1,"b":[1],"c":"c","d":true}'
    assert spec.load() == made
    with pytest.raises(TypeError):
        mixed(1, [2], "c", True)  # type: ignore[call-arg]  # noqa: FBT003 - what is tested


def test_a_default_that_can_change_is_not_shared() -> None:
    first, second = mixed(1, d=True), mixed(1, d=True)
    first.b.append(2)  # type: ignore[attr-defined]  # a field of the made dataclass
    assert second.b == [1]  # type: ignore[attr-defined]  # as above


@dataclass
class Initial(BaseStep):
    """Needs a value that it does not keep."""

    once: dataclasses.InitVar[int]

    async def work(self, ctx: Context) -> None:
        """Do nothing."""


class Slotted(BaseStep):
    """Keeps a value where nobody looks."""

    __slots__ = ("value",)

    async def work(self, ctx: Context) -> None:
        """Do nothing."""


@dataclass
class Shadowing(BaseStep):
    """Has a field that hides a method."""

    work: Any = None


@pytest.mark.parametrize("made", [Initial(1), Slotted(), Shadowing()])
def test_what_can_not_be_made_again_is_refused(made: BaseStep) -> None:
    with pytest.raises(InvalidInput):
        steps.save(1, made)


def test_a_function_without_ctx_is_refused() -> None:
    async def nothing() -> None:
        pass

    async def positional(ctx: Context, a: int, /) -> None:
        pass

    for function in (nothing, positional):
        with pytest.raises(InvalidInput, match="it takes ctx"):
            step(function)  # type: ignore[arg-type]  # what is tested


def test_aliases_are_a_tuple() -> None:
    with pytest.raises(InvalidInput, match="give a tuple of names"):
        type("Aliased", (BaseStep,), {"__module__": __name__}, aliases="old")


def test_a_broken_entry_point_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        name = "broken"

        def load(self) -> None:
            raise ImportError

    monkeypatch.setattr("awfe.domain.registry.entry_points", lambda group: [Broken()] if group == "awfe.steps" else [])
    with pytest.raises(LookupError, match="the entry point 'broken' can't be loaded"):
        find("tests:Nothing")


class Forgotten(BaseStep):
    """Forgot to be a dataclass."""

    command: str

    async def work(self, ctx: Context) -> None:
        """Do nothing."""


class WithoutContext(BaseStep):
    """Forgot its ctx."""

    async def work(self) -> None:  # type: ignore[override]  # what is tested
        """Do nothing."""


@pytest.mark.parametrize(
    ("made", "match"), [(Forgotten, "make it a dataclass"), (WithoutContext, "work\\(self, ctx\\)")]
)
def test_steps_that_could_not_run_are_refused(made: type[BaseStep], match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        steps.save(1, made)


@pytest.mark.parametrize("attribute", ["timout", "on_interupt", "retries_"])
def test_a_misspelt_policy_is_refused(attribute: str) -> None:
    namespace = {"__module__": __name__, attribute: 5}
    if attribute == "retries_":
        type("Fine", (BaseStep,), namespace)
        return
    with pytest.raises(InvalidInput, match="did you mean"):
        type("Misspelt", (BaseStep,), namespace)


def test_output_is_text() -> None:
    with pytest.raises(InvalidInput, match="give a str"):
        Context().output(b"bytes")  # type: ignore[arg-type]  # what is tested


def test_what_belongs_to_the_class_is_no_attribute_that_would_be_lost() -> None:
    """All steps of the class share it, saved or not."""

    class Counting(BaseStep, name="tests.Counting"):
        seen: ClassVar[int] = 0

        async def work(self, ctx: Context) -> None:
            ctx["seen"] = Counting.seen

    assert steps.save(1, Counting()).args == b"{}"
