"""Steps: values that are saved with their arguments and made again."""

import dataclasses
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given

from awfe.domain import registry
from awfe.domain.context import Context
from awfe.domain.retry import NEVER, Retry
from awfe.domain.step import POLICIES, BaseStep, Policies, StepSpec, can_undo, policies_of, save
from awfe.errors import InvalidInput
from tests.unit.strategies import same, values

HERE = __name__


class Plain(BaseStep):
    """A step without arguments."""

    async def work(self, ctx: Context) -> None:
        """Leave a trace."""
        ctx["plain"] = True


@dataclass
class RunCmd(BaseStep):
    """A step with arguments and policies of its class."""

    timeout = 30
    retry = Retry(attempts=2)

    command: str
    env: dict[str, Any] = field(default_factory=dict)
    seen: int = field(default=0, init=False)

    async def work(self, ctx: Context) -> None:
        """Leave a trace."""
        ctx["ran"] = self.command


@dataclass(frozen=True)
class Frozen(BaseStep):
    """A step that can't be changed."""

    value: Any

    async def work(self, ctx: Context) -> None:
        """Do nothing."""


def spec_of(cls: type, args: bytes = b"{}", policies: bytes = b"{}") -> StepSpec:
    """Return a saved step, as a row has it."""
    return StepSpec(3, cls.__name__, registry.name_of(cls, "step 3"), args, policies)


def test_a_step_is_saved_by_its_name_and_arguments() -> None:
    """Its class may be given for an instance, when it needs none."""
    assert save(1, Plain) == save(1, Plain()) == StepSpec(1, "Plain", f"{HERE}:Plain", b"{}", b"{}")
    saved = save(2, RunCmd("uptime", {"A": 1}))
    assert saved == StepSpec(2, "RunCmd", f"{HERE}:RunCmd", b'{"command":"uptime","env":{"A":1}}', b"{}")


def test_a_step_is_made_again() -> None:
    """Equal to what was saved; what it computes by itself is not an argument."""
    assert save(1, RunCmd("uptime", {"A": 1})).load() == RunCmd("uptime", {"A": 1})
    assert isinstance(save(1, Plain).load(), Plain)


@given(values)
def test_every_argument_comes_back_the_same(value: Any) -> None:
    """Arguments are as exact as the context."""
    assert same(cast("Frozen", save(1, Frozen(value)).load()).value, value)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ((1,), "a tuple can't be saved; use a list"),
        (datetime(2026, 1, 1, tzinfo=UTC), "a datetime can't be saved"),
        (math.nan, "nan is not a JSON number"),
        ({1: 2}, "the key 1 is not a str"),
    ],
)
def test_an_argument_that_can_not_be_saved_is_refused(value: Any, problem: str) -> None:
    """The message leads to it; it is no error of the context."""
    with pytest.raises(InvalidInput, match=rf"^step 3 \(Frozen\)\['value'\]: {problem}") as caught:
        save(3, Frozen(value))
    assert type(caught.value) is InvalidInput


@pytest.mark.parametrize("item", [None, 5, "Plain", object, len, [Plain]], ids=repr)
def test_what_is_not_a_step_is_refused(item: object) -> None:
    """The message tells what to give."""
    with pytest.raises(InvalidInput, match=r"^step 2: .* is not a step; give a BaseStep, as a class or an instance"):
        save(2, item)


def test_a_class_that_needs_arguments_is_not_a_step_yet() -> None:
    """The message tells which are missing."""
    with pytest.raises(InvalidInput, match=r"^step 1: RunCmd needs its arguments: .*'command'"):
        save(1, RunCmd)


def test_a_step_has_an_async_work() -> None:
    """One that was forgotten, or is not async, is found before anything runs."""

    class Lazy(BaseStep):
        pass

    class Blocking(BaseStep):
        def work(self, ctx: Context) -> None:  # type: ignore[override]  # that is the mistake
            pass

    for wrong in (Lazy, Blocking, BaseStep):
        with pytest.raises(InvalidInput, match=rf"^step 1 \(.*{wrong.__name__}\): write 'async def work\(self, ctx\)'"):
            save(1, wrong)


async def test_the_base_does_nothing() -> None:
    """Its work is to be written."""
    with pytest.raises(NotImplementedError):
        await BaseStep().work(Context())
    with pytest.raises(NotImplementedError):
        await BaseStep().undo(Context())


def test_a_step_that_writes_an_undo_can_be_undone() -> None:
    """A base's counts; one that is not async is found before anything runs."""

    class Mends(Plain):
        async def undo(self, ctx: Context) -> None:
            del ctx["plain"]

    class Inherits(Mends):
        pass

    class Blocking(Plain):
        def undo(self, ctx: Context) -> None:  # type: ignore[override]  # that is the mistake
            pass

    class Lonely(Plain):
        async def undo(self) -> None:  # type: ignore[override]  # that is the mistake
            pass

    assert [can_undo(step()) for step in (Plain, Mends, Inherits)] == [False, True, True]
    for wrong in (Blocking, Lonely):
        with pytest.raises(InvalidInput, match=rf"^step 1 \(.*{wrong.__name__}\): write 'async def undo\(self, ctx\)'"):
            save(1, wrong)


def test_attributes_that_would_be_lost_are_refused() -> None:
    """A step with arguments is a dataclass."""

    class Stateful(BaseStep):
        def __init__(self) -> None:
            self.command = "uptime"

        async def work(self, ctx: Context) -> None:
            pass

    with pytest.raises(InvalidInput, match=r"its attributes would be lost when it is saved; make it a dataclass"):
        save(1, Stateful())


@pytest.mark.parametrize("policy", POLICIES)
def test_a_field_named_like_a_policy_is_refused(policy: str) -> None:
    """It would be both."""
    cls = dataclasses.make_dataclass(
        f"With_{policy}", [(policy, Any)], bases=(BaseStep,), namespace={"__module__": HERE, "work": Plain.work}
    )
    with pytest.raises(
        InvalidInput, match=rf"the field '{policy}' is named like a policy or method of steps; give it another name"
    ):
        save(1, cls(None))


@pytest.mark.parametrize("args", [b"{}", b'{"cmd":"x"}', b'{"command":"x","more":1}'], ids=bytes.decode)
def test_arguments_that_do_not_fit_any_more_are_refused(args: bytes) -> None:
    """The class has changed since; the message shows what was saved."""
    with pytest.raises(InvalidInput, match=r"^step 3: the saved arguments \{.*\} don't fit RunCmd: "):
        spec_of(RunCmd, args).load()


def test_a_step_of_an_unknown_name_is_a_lookup_error() -> None:
    """The registry says more."""
    with pytest.raises(LookupError, match="no step is registered as 'acme:Nothing'"):
        StepSpec(1, "Nothing", "acme:Nothing", b"{}", b"{}").load()


def test_policies_are_those_of_the_class_then_those_of_the_use() -> None:
    """A use changes nothing but itself."""
    plain = RunCmd("uptime")
    used = plain.using(timeout=5, on_error="skip").using(on_interrupt="rerun")
    assert policies_of(Plain()) == Policies(None, NEVER, "pause", "pause")
    assert policies_of(plain) == Policies(30, Retry(attempts=2), "pause", "pause")
    assert policies_of(used) == Policies(5, Retry(attempts=2), "skip", "rerun")
    assert policies_of(used).rerun
    assert used == plain


def test_policies_of_a_use_are_saved_with_it() -> None:
    """Those of the class are not: they may change with the code."""
    retry = Retry(attempts=5, wait=1.5, factor=3, max_wait=60)
    saved = save(1, RunCmd("uptime").using(timeout=None, retry=retry))
    assert policies_of(saved.load()) == Policies(None, retry)
    assert save(1, RunCmd("uptime")).policies == b"{}"
    assert policies_of(save(1, Frozen(1).using(timeout=2.5)).load()) == Policies(2.5)


@pytest.mark.parametrize(
    "policies",
    [
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": math.inf},
        {"timeout": math.nan},
        {"timeout": "5"},
        {"timeout": True},
        {"retry": 3},
        {"retry": {"attempts": 0}},
        {"on_error": "ignore"},
        {"on_error": None},
        {"on_interrupt": "skip"},
        {"timeouts": 5},
        {"work": 5},
    ],
    ids=str,
)
def test_impossible_policies_are_refused(policies: dict[str, Any]) -> None:
    """At once, by the use; those of a class when it is saved, and those of a row when it is made again."""
    with pytest.raises(InvalidInput, match=r"^Plain: "):
        Plain().using(**policies)
    ((name, value),) = policies.items()
    if name in POLICIES:
        wrong: type[BaseStep] = type("Wrong", (Plain,), {"__module__": HERE, name: value})
        with pytest.raises(InvalidInput, match=r"^Wrong: "):
            save(1, wrong)


@pytest.mark.parametrize(
    "policies", [b'{"timeout":"x"}', b'{"patience":1}', b'{"on_error":"ignore"}', b'{"retry":{"attempts":2}}']
)
def test_policies_of_a_row_are_checked_too(policies: bytes) -> None:
    """Whoever wrote it."""
    spec = spec_of(Plain, policies=policies)
    if b"retry" in policies:
        assert policies_of(spec.load()).retry == Retry(attempts=2)
    else:
        with pytest.raises(InvalidInput, match=r"^Plain: "):
            spec.load()


@pytest.mark.parametrize("policies", [b'{"retry":{"attempts":0}}', b'{"retry":{"attempts":"many"}}', b'{"retry":5}'])
def test_a_retry_of_a_row_is_checked_too(policies: bytes) -> None:
    """An error of awfe is what a caller gets."""
    with pytest.raises(InvalidInput):
        spec_of(Plain, policies=policies).load()


def test_policies_are_what_they_say() -> None:
    """A mapping is refused, or made a Retry."""

    class Mapped(Plain):
        retry = {"attempts": 2}  # type: ignore[assignment]  # noqa: RUF012 - that is the mistake

    try:
        policies = policies_of(Mapped())
    except InvalidInput:
        return
    assert policies.retry == Retry(attempts=2)
