"""The JSON Schema says what the loader says, as far as a schema can."""

from typing import Any

import jsonschema
import pytest
import yaml

from awfe.runbooks.building import _CLASSES
from awfe.runbooks.keys import KINDS, names
from awfe.runbooks.schema import schema
from tests.runbooks.cases import cases
from tests.runbooks.test_runbook import WHOLE

CASES = dict(cases())
# Their shape is wrong; of others only the values are.
SHAPES = [
    "context: a key of a declaration that is written wrong",
    "context: a mapping that declares nothing",
    "context: a type that is not there",
    "context: nothing after a key",
    "file: a key that is written wrong",
    "file: a list",
    "file: no steps",
    "file: only a name",
    "file: steps that are a mapping",
    "steps: a kind of step that is written wrong",
    "steps: a foreach in a foreach",
    "steps: a step that is no mapping",
    "steps: durations",
    "steps: keys that are written wrong, in several steps",
    "steps: policies",
    "steps: retries",
    "steps: shell, everything wrong",
    "steps: subworkflow",
    "steps: two kinds at once",
    "code: names that are no names",
]


def validator() -> Any:
    made = schema()
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


def texts(value: Any) -> Any:
    """Put quotes around the numbers that stand where texts are wanted, as an editor asks for."""
    value["context"]["version"]["default"] = "1.10"
    first, second, *_ = value["steps"]
    first["env"] |= {"VERSION": "1.10", "MODE": "0755", "ANSWER": "yes"}
    second["shell"][2:4] = ["3", "true"]
    return value


@pytest.mark.parametrize("kind", _CLASSES)
def test_no_argument_of_a_step_is_forgotten(kind: str) -> None:
    made = _CLASSES[kind]
    fields: Any = made.cls.__dict__["__dataclass_fields__"]
    missing = set(fields) - {made.own(key) for key in names(KINDS[kind])} - {"_"}
    # A runbook has the method before the URL.
    assert missing == ({"method"} if kind == "http" else set())


def test_a_runbook_with_all_keys_is_valid() -> None:
    whole = texts(yaml.safe_load(WHOLE.read_text()))
    assert [error.message for error in validator().iter_errors(whole)] == []
    assert {key for step in whole["steps"] for key in step} >= set(KINDS)


@pytest.mark.parametrize("name", SHAPES)
def test_a_wrong_shape_is_not_valid(name: str) -> None:
    assert not validator().is_valid(yaml.safe_load(CASES[name].text))


def test_of_a_step_only_what_is_wrong_is_told() -> None:
    errors = list(validator().iter_errors({"name": "check", "steps": [{"shell": "uptime", "timout": 3}]}))
    assert [error.message for error in errors] == [
        "Additional properties are not allowed ('timout' was unexpected)",
    ]
