"""From a file to a runbook, or to all that is wrong with it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from awfe import checks
from awfe.errors import InvalidInput
from awfe.runbooks import toml_text
from awfe.runbooks.building import Builder
from awfe.runbooks.fitting import fit_keys
from awfe.runbooks.inputs import declared
from awfe.runbooks.keys import RunbookKeys
from awfe.runbooks.known import Known
from awfe.runbooks.nodes import Node
from awfe.runbooks.problems import Problem, Report, RunbookInvalid
from awfe.runbooks.runbook import Runbook
from awfe.steps.templates import Place, parse

MAX_BYTES: Final = 1 << 20
_OWN: Final = "x-"


def load(path: str | os.PathLike[str]) -> Runbook:
    """Read a runbook from a `.yaml`, `.yml` or `.toml` file, and import the modules that it names.

    Raises `RunbookInvalid`, with all that is wrong.
    """
    runbook, problems = _examined(path)
    if runbook is None or problems:
        raise RunbookInvalid(problems)
    return runbook


def check(path: str | os.PathLike[str]) -> list[Problem]:
    """Return all that is wrong with a file, in the order of its lines; like `load`, it imports what is named."""
    _, problems = _examined(path)
    return list(RunbookInvalid(problems).problems)


def _examined(path: str | os.PathLike[str]) -> tuple[Runbook | None, list[Problem]]:
    file = os.fspath(path)
    report = Report(file)
    node = _read(Path(file), report)
    runbook = None if node is None else _runbook(file, node, report)
    return runbook, report.problems


def _read(path: Path, report: Report) -> Node | None:
    try:
        reader = _reader(path.suffix.lower(), report)
        if reader is None:
            return None
        with path.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            report.add(0, (), f"is larger than {MAX_BYTES} bytes, which no runbook is")
            return None
        return reader(data.decode("utf-8-sig"), report)
    except OSError as error:
        report.add(0, (), f"can't be read: {error.strerror}")
    except UnicodeDecodeError as error:
        report.add(error.object.count(b"\n", 0, error.start) + 1, (), "is not UTF-8 here")
    except ValueError as error:
        report.add(0, (), f"can't be read: {error}")
    return None


def _reader(suffix: str, report: Report) -> Callable[[str, Report], Node | None] | None:
    if suffix == ".toml":
        return toml_text.read
    if suffix not in (".yaml", ".yml"):
        report.add(0, (), "its name must end with .yaml, .yml or .toml")
        return None
    try:
        from awfe.runbooks import yaml_text  # noqa: PLC0415 - PyYAML comes with an extra
    except ModuleNotFoundError as error:
        report.add(0, (), f"{error.name} is not installed: pip install 'awfe[cli]'")
        return None
    return yaml_text.read


def _runbook(file: str, node: Node, report: Report) -> Runbook | None:
    if isinstance(node.value, dict):
        # Room for anchors, and for what other programs keep here.
        for key in [key for key in node.value if key.startswith(_OWN)]:
            del node.value[key]
    context = node.value.pop("context", None) if isinstance(node.value, dict) else None
    found = fit_keys(node, RunbookKeys, (), report)
    if found is None:
        return None
    inputs = declared(context, report)
    given = context.value if context is not None and isinstance(context.value, dict) else {}
    # One whose declaration is wrong is declared, too.
    keys: dict[str, str | None] = {**dict.fromkeys(given), **{each.name: each.type for each in inputs}}
    if "name" in found:
        _check_name(found["name"], node, keys, report)
    builder = Builder(report)
    steps = builder.steps(found.get("steps", []), ("steps",), Known(keys, report))
    if "steps" in found and not found["steps"]:
        report.add(node.line_of("steps"), ("steps",), "there are no steps: give at least one")
    if len(report):
        return None
    modules = tuple(builder.code.modules)
    return Runbook(file, found["name"], inputs, tuple(steps), found.get("description"), modules)


def _check_name(name: str, node: Node, keys: dict[str, str | None], report: Report) -> None:
    line = node.line_of("name")
    try:
        places = [part for part in parse(name, "name") if isinstance(part, Place)]
        if not places:
            checks.name(name)
    except InvalidInput as error:
        report.add(line, ("name",), str(error).removeprefix("name: "))
        return
    for place in places:
        Known(keys, report).read(str(place.keys[0]), line, ("name",), place.text, "in the context")
