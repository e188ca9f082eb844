"""The step that changes the context."""

from typing import Any

import pytest

from awfe import Context, ContextError, InvalidInput
from awfe.domain.step import save
from awfe.steps import Secret, SetContext


async def test_values_are_set_and_keys_removed() -> None:
    ctx = Context({"n": 5, "hosts": ["a", "b"], "old": 1})
    step = SetContext(
        {
            "first": "{hosts[0]}",
            "text": "{n} of {hosts[1]}",
            "all": ["{hosts}", {"{n}": "{n}"}],
            "n": "{{n}}",
            "plain": None,
        },
        unset=("old", "never"),
    )
    await step.work(ctx)
    assert dict(ctx) == {
        "n": "{n}",
        "hosts": ["a", "b"],
        "first": "a",
        "text": "5 of b",
        "all": [["a", "b"], {"{n}": 5}],
        "plain": None,
    }
    ctx["all"][0].append("c")
    assert ctx["hosts"] == ["a", "b"]


async def test_all_is_worked_out_before_anything_is_set() -> None:
    ctx = Context({"a": 1})
    await SetContext({"a": 2, "b": "{a}"}).work(ctx)
    assert dict(ctx) == {"a": 2, "b": 1}
    with pytest.raises(ContextError, match="the context has no 'nope'"):
        await SetContext({"a": 3, "b": "{nope}"}, ["c"]).work(ctx)
    assert dict(ctx) == {"a": 2, "b": 1}


async def test_a_secret_stays_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T_SECRET", "hunter2")
    ctx = Context({"old": Secret("T_SECRET")})
    await SetContext({"new": Secret("T_SECRET"), "copy": "{old}"}).work(ctx)
    delta = {key: bytes(raw) for key, raw in ctx.collect().set.items()}
    assert delta["new"] == delta["copy"] == b'{"$secret":"T_SECRET"}'


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"values": [1]}, "give a dict of keys to values"),
        ({"values": {5: 1}}, "the key 5 is not a str"),
        ({"values": {"a": ["{"]}}, "write '{{' for a brace"),
        ({"unset": "a"}, "give a list of keys"),
        ({"unset": [5]}, "the key 5 is not a str"),
        ({"values": {"a": 1}, "unset": ["a"]}, r"\['a'\] would be set and removed"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        SetContext(**arguments)


def test_it_is_saved() -> None:
    step = SetContext({"a": ["{b}"]}, ("c",))
    spec = save(1, step)
    assert (spec.impl, spec.load()) == ("awfe.SetContext", step)
    with pytest.raises(InvalidInput, match="a set can't be saved"):
        save(1, SetContext({"a": {1}}))
