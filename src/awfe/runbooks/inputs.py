"""What a runbook is given: the values of its context, with their types."""

import json
from dataclasses import dataclass
from typing import Annotated, Any, Final

from msgspec import Meta

from awfe.domain.secret import KEY, Secret
from awfe.domain.values import check_key, encode
from awfe.errors import ContextError, InvalidInput
from awfe.runbooks.fitting import UNFIT, fit, fit_keys, kind
from awfe.runbooks.keys import TYPES, InputKeys
from awfe.runbooks.nodes import Node
from awfe.runbooks.problems import Path, Report

_TYPES: Final[dict[str, Any]] = {
    "str": Annotated[str, Meta(description="a text")],
    "int": Annotated[int, Meta(description="a whole number")],
    "float": Annotated[float, Meta(description="a number")],
    "bool": Annotated[bool, Meta(description="true or false")],
    "list": Annotated[list[Any], Meta(description="a list")],
    "dict": Annotated[dict[str, Any], Meta(description="a mapping")],
    "secret": Annotated[str | Secret, Meta(description="the name of a secret")],
}
_PYTHON: Final = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict, "secret": Secret}
_BOOLS: Final = {"true": True, "yes": True, "false": False, "no": False}


@dataclass(frozen=True, slots=True)
class Input:
    """One value of a runbook's context; without a default it is `required`."""

    name: str
    type: str
    required: bool
    default: Any = None
    description: str | None = None
    choices: tuple[Any, ...] = ()

    def convert(self, given: Any) -> Any:
        """Return a value of the input's type; a text, as a command line has it, is read as one.

        A list is written as JSON or with commas, a dict as JSON. Raises `InvalidInput`.
        """
        try:
            value = self._read(given) if isinstance(given, str) else given
            if self.type == "float" and type(value) is int:
                value = float(value)
            if type(value) is not _PYTHON[self.type]:
                raise InvalidInput(self._problem(given))
            encode(value, self.name)
        except (ContextError, ValueError, RecursionError) as error:
            raise InvalidInput(self._problem(given) if not isinstance(error, InvalidInput) else str(error)) from None
        if self.choices and value not in self.choices:
            msg = f"{self.name}={given!r:.60}: give {self.wanted}"
            raise InvalidInput(msg)
        return value

    @property
    def wanted(self) -> str:
        """What to give for it, for people."""
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        how = {"list": "words with commas between them, or JSON as [1, 2]", "dict": 'JSON as {"a": 1}'}
        return how.get(self.type) or str(_TYPES[self.type].__metadata__[0].description)

    def _problem(self, given: Any) -> str:
        # What was taken for a secret's name may be the secret.
        shown = self.name if self.type == "secret" else f"{self.name}={given!r:.60}"
        return f"{shown}: give {self.wanted}"

    def _read(self, text: str) -> Any:
        if self.type in ("int", "float"):
            return _PYTHON[self.type](text)
        if self.type == "bool":
            return _BOOLS.get(text.lower())
        if self.type == "secret":
            try:
                return Secret(text)
            except InvalidInput:
                return None
        if self.type == "dict" or (self.type == "list" and text.lstrip()[:1] == "["):
            return json.loads(text)
        return text if self.type == "str" else [word.strip() for word in text.split(",")] if text.strip() else []


def declared(node: Node | None, report: Report) -> tuple[Input, ...]:
    """Return the inputs that a file declares under `context`."""
    if node is None:
        return ()
    if not isinstance(node.value, dict):
        report.add(node.line, ("context",), f"is {kind(node)}; give a mapping of keys to values or to declarations")
        return ()
    found = []
    for name, item in node.value.items():
        path: Path = ("context", name)
        try:
            check_key(name, "context", InvalidInput)
        except InvalidInput as error:
            report.add(node.line_of(name), path, str(error).removeprefix("context: "))
            continue
        made = _declaration(name, item, path, report) if _declares(item) else _value(name, item, path, report)
        found += [made] if made is not None else []
    return tuple(found)


def _declares(node: Node) -> bool:
    return isinstance(node.value, dict) and node.value.keys() != {KEY}


def _value(name: str, node: Node, path: Path, report: Report) -> Input | None:
    """Return the input of a value that is written without its type."""
    if node.value is None:
        report.add(node.line, path, "is empty; give a default, or {type: …} for a value that must be given")
        return None
    value = fit(node, Any, path, report)
    found = next((each for each in TYPES if type(value) is _PYTHON[each]), None)
    return None if found is None else Input(name, found, required=False, default=value)


def _declaration(name: str, node: Node, path: Path, report: Report) -> Input | None:
    if "type" not in node.value:
        hint = "a mapping here declares a value: give type, or for a value that is a mapping {type: dict, default: …}"
        report.add(node.line, path, hint)
        return None
    found = fit_keys(node, InputKeys, path, report)
    if found is None or "type" not in found:
        return None
    default, choices = found.get("default"), found.get("choices")
    options = _options(choices, found["type"], (*path, "choices"), report)
    value = None if default is None else _fitted(default, found["type"], (*path, "default"), report)
    if value is UNFIT:
        return None
    if default is not None and options and value not in options:
        report.add(default.line, (*path, "default"), f"{kind(default)} is none of the choices")
    return Input(name, found["type"], default is None, value, found.get("description"), tuple(options))


def _options(node: Node | None, type_: str, path: Path, report: Report) -> list[Any]:
    if node is None:
        return []
    if not isinstance(node.value, list) or not node.value:
        report.add(node.line, path, f"is {kind(node) if node.value else 'empty'}; give a list of values")
        return []
    return [_fitted(each, type_, (*path, n), report) for n, each in enumerate(node.value)]


def _fitted(node: Node, type_: str, path: Path, report: Report) -> Any:
    value = fit(node, _TYPES[type_], path, report)
    if value is UNFIT:
        return UNFIT
    if type_ == "secret" and isinstance(value, str):
        try:
            return Secret(value)
        except InvalidInput as error:
            report.add(node.line, path, str(error).partition("): ")[2])
            return UNFIT
    return float(value) if type_ == "float" else value
