"""What runbooks are given: the values of their inputs, and durations."""

from pathlib import Path
from typing import Any

import pytest

from awfe import InvalidInput
from awfe.runbooks import Input, load
from awfe.runbooks.durations import seconds
from awfe.steps import Secret

WHOLE = Path(__file__).with_name("whole.yaml")
TOKEN, KEY = Secret("DEPLOY_TOKEN"), Secret("SSH_KEY")
DURATIONS = {
    "30s": 30,
    "5m": 300,
    "1h30m": 5400,
    "1d": 86_400,
    "250ms": 0.25,
    "1.5h": 5400,
    "2m0.5s": 120.5,
    3: 3,
    0.5: 0.5,
}


def test_inputs_are_declared() -> None:
    runbook = load(WHOLE)
    assert runbook.inputs[0] == Input("app", "str", True, None, "which one", ("web", "api"))  # noqa: FBT003 - a record
    assert [(each.name, each.type, each.default) for each in runbook.inputs if not each.required] == [
        ("version", "str", "1.10"),
        ("limit", "int", 3),
        ("share", "float", 1.0),
        ("drain", "bool", True),
        ("labels", "dict", {"team": "a", "on": "yes"}),
        ("token", "secret", TOKEN),
        ("key", "secret", KEY),
        ("note", "str", "yes it is"),
    ]
    assert type(runbook.inputs[4].default) is float


def test_make_converts_what_a_command_line_gives() -> None:
    given = {
        "app": "web",
        "hosts": "a, b",
        "limit": "5",
        "share": "0.5",
        "drain": "no",
        "labels": '{"a": [1]}',
        "token": "T",
    }
    name, context, made = load(WHOLE).make(values=given)
    assert name == "release-web"
    assert context == {
        "app": "web",
        "version": "1.10",
        "hosts": ["a", "b"],
        "limit": 5,
        "share": 0.5,
        "drain": False,
        "labels": {"a": [1]},
        "token": Secret("T"),
        "key": KEY,
        "note": "yes it is",
    }
    assert len(made) == 18
    assert load(WHOLE).make("mine", {"app": "api", "hosts": []}).name == "mine"


def test_make_tells_all_that_is_wrong() -> None:
    given: dict[str, Any] = {
        "ap": "web",
        "limit": "many",
        "share": "nan",
        "drain": 1,
        "labels": "{",
        "hosts": "[1",
        "token": "",
    }
    with pytest.raises(InvalidInput) as raised:
        load(WHOLE).make(values=given)
    assert str(raised.value).splitlines() == [
        f"ap: {WHOLE} has no such input; did you mean 'app'?",
        "app: is missing; give one of web, api (which one)",
        "hosts='[1': give words with commas between them, or JSON as [1, 2]",
        "limit='many': give a whole number",
        "share: nan is not a JSON number; use None or a str",
        "drain=1: give true or false",
        """labels='{': give JSON as {"a": 1}""",
        "token: give the name of a secret",
    ]
    with pytest.raises(InvalidInput, match="app='cli': give one of"):
        load(WHOLE).make(values={"app": "cli", "hosts": "a"})
    with pytest.raises(InvalidInput, match="the workflow name"):
        load(WHOLE).make("", {"app": "web", "hosts": "a"})


def test_each_workflow_has_a_context_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text(
        "name: check\ncontext: {hosts: [a], more: {type: dict, default: {a: [1]}}}\nsteps: [{shell: uptime}]\n"
    )
    runbook = load(path)
    runbook.make().context["hosts"].append("b")
    runbook.make().context["more"]["a"].append(2)
    assert runbook.make().context == {"hosts": ["a"], "more": {"a": [1]}}


@pytest.mark.parametrize(
    ("type_", "given", "value"),
    [
        ("int", "-3", -3),
        ("int", 3, 3),
        ("float", "3", 3.0),
        ("float", 3, 3.0),
        ("bool", "Yes", True),
        ("bool", "FALSE", False),
        ("list", "", []),
        ("list", "a", ["a"]),
        ("list", ' [1, "a"]', [1, "a"]),
        ("dict", "{}", {}),
        ("str", " 1 ", " 1 "),
        ("secret", TOKEN, TOKEN),
    ],
)
def test_an_input_reads(type_: str, given: Any, value: Any) -> None:
    read = Input("x", type_, required=True).convert(given)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("type_", "given"),
    [
        ("int", "1.5"),
        ("int", True),
        ("int", "9" * 30),
        ("int", "9" * 5000),
        ("float", "inf"),
        ("float", True),
        ("bool", "maybe"),
        ("list", "[1"),
        ("list", ("a",)),
        ("list", "[" * 5000),
        ("dict", "[]"),
        ("dict", '{"a": NaN}'),
        ("str", 3),
        ("str", "\ud800"),
        ("str", None),
        ("secret", 3),
    ],
)
def test_an_input_refuses(type_: str, given: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^x"):
        Input("x", type_, required=True).convert(given)


@pytest.mark.parametrize(("text", "value"), DURATIONS.items())
def test_durations(text: Any, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize(
    "text", ["", "5", "5 m", "m", "1s1m", "1h 30m", "-5s", "5S", "٣s", "1e3s", -1, float("nan"), True, None]
)
def test_what_is_no_duration(text: Any) -> None:
    with pytest.raises(InvalidInput, match="is no duration"):
        seconds(text)
