"""Steps and functions of programs, that a runbook names as `module:name`."""

import dataclasses
import importlib
import inspect
import typing
from types import ModuleType, UnionType
from typing import Any, Final, get_args, get_origin

from awfe.domain import registry
from awfe.domain.secret import Secret
from awfe.domain.step import BaseStep
from awfe.errors import AwfeError, ConfigError
from awfe.runbooks.fitting import UNFIT, fit
from awfe.runbooks.nodes import Node
from awfe.runbooks.problems import Path, Report, meant
from awfe.steps import Call, CallSync

_PLAIN: Final = (str, int, float, bool, type(None), Any, Secret)


class Code:
    """Imports what a file names; a runbook is trusted as a program is."""

    def __init__(self, report: Report) -> None:
        """Begin without any module."""
        self._report = report
        self.modules: list[str] = []

    def step(self, kind: str, found: dict[str, Any], node: Node, path: Path) -> BaseStep | None:
        """Make the step of a `call` or a `use`; None when it can't be made."""
        if kind not in found:
            return None
        name, _, attribute = found[kind].partition(":")
        module = self._module(name, node.line_of(kind), (*path, kind))
        if module is None:
            return None
        if name not in self.modules:
            self.modules.append(name)
        if kind == "use":
            return self._use(module, attribute, node, path)
        return self._call(module, attribute, found, node, path)

    def _module(self, name: str, line: int, path: Path) -> ModuleType | None:
        try:
            registry.allow([name])
            return importlib.import_module(name)
        except (ConfigError, SystemExit) as error:
            cause = error.__cause__ or error
            self._report.add(line, path, f"the module {name!r} can't be imported: {type(cause).__name__}: {cause}")
            return None

    def _call(
        self, module: ModuleType, attribute: str, found: dict[str, Any], node: Node, path: Path
    ) -> BaseStep | None:
        function = vars(module).get(attribute)
        line, where = node.line_of("call"), (*path, "call")
        if not inspect.isfunction(function):
            there = [key for key, value in _own(module).items() if inspect.isfunction(value)]
            self._report.add(line, where, f"{module.__name__} has no function {attribute!r}; {meant(attribute, there)}")
            return None
        cls = Call if inspect.iscoroutinefunction(function) else CallSync
        try:
            return cls(found["call"], found.get("arguments"))
        except AwfeError as error:
            if not self._report.has(path):
                key = "arguments" if "arguments" in node.value and "can't be called" in str(error) else "call"
                self._report.add(node.line_of(key), (*path, key), str(error))
            return None

    def _use(self, module: ModuleType, attribute: str, node: Node, path: Path) -> BaseStep | None:
        cls: Any = vars(module).get(attribute)
        line, where = node.line_of("use"), (*path, "use")
        if not _is_step(cls):
            there = [key for key, value in _own(module).items() if _is_step(value)]
            self._report.add(line, where, f"{module.__name__} has no step {attribute!r}; {meant(attribute, there)}")
            return None
        values = self._values(cls, node, path)
        if self._report.has((*path, "with")):
            return None
        try:
            made: BaseStep = cls(**values)
        except Exception as error:  # noqa: BLE001 - whatever a step of theirs says of its arguments
            self._report.add(node.line_of("with"), where, f"{attribute} can't be made: {error}")
            return None
        return made

    def _values(self, cls: type[BaseStep], node: Node, path: Path) -> dict[str, Any]:
        given = node.value.get("with")
        nodes = given.value if given is not None and isinstance(given.value, dict) else {}
        fields: Any = getattr(cls, "__dataclass_fields__", {}).values()
        known = {each.name: each for each in fields if each.init}
        path = (*path, "with")
        values = {}
        broken = given is not None and given.value is not nodes
        hints = _hints(cls)
        for key, item in nodes.items():
            if key not in known:
                self._report.add(
                    given.line_of(key), path, f"{cls.__qualname__} has no argument {key!r:.60}; {meant(key, known)}"
                )
            elif (value := fit(item, hints.get(key, Any), (*path, key), self._report)) is not UNFIT:
                values[key] = value
        for key, each in known.items():
            needed = each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
            if needed and key not in nodes and not broken:
                self._report.add(node.line_of("with"), path, f"{cls.__qualname__} needs {key!r}")
        return values


def _own(module: ModuleType) -> dict[str, Any]:
    """Return what a module defines itself, for others."""
    found = vars(module).items()
    return {key: each for key, each in found if key[0] != "_" and getattr(each, "__module__", "") == module.__name__}


def _is_step(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseStep) and value is not BaseStep


def _hints(cls: type[BaseStep]) -> dict[str, Any]:
    """Return the types of a step's arguments, where they are some that a file can have."""
    try:
        found = typing.get_type_hints(cls)
    except Exception:  # noqa: BLE001 - names that only a type checker knows
        return {}
    return {key: kind for key, kind in found.items() if _is_plain(kind)}


def _is_plain(kind: Any) -> bool:
    if kind in _PLAIN or get_origin(kind) is typing.Literal:
        return True
    if get_origin(kind) in (list, UnionType, typing.Union):
        return all(map(_is_plain, get_args(kind)))
    return get_origin(kind) is dict and get_args(kind)[0] is str and _is_plain(get_args(kind)[1])
