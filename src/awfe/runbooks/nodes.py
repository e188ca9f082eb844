"""The values of a file, each with the line where it stands."""

import re
from dataclasses import dataclass, field
from typing import Any, Final

from awfe.domain.secret import KEY, Secret
from awfe.domain.values import encode
from awfe.errors import InvalidInput
from awfe.runbooks.problems import Path, Report

MAX_NODES: Final = 100_000
MAX_DEPTH: Final = 40
_OCTAL: Final = re.compile(r"[-+]?0\d+")
_YES_OR_NO: Final = re.compile(r"(?:yes|no|on|off|y|n)", re.IGNORECASE)


@dataclass(slots=True, eq=False)
class Node:
    """A value: one of JSON's, a list of nodes, a dict of them, or a date of TOML.

    `text` is how a plain scalar of YAML is written, which means its value only where no text is wanted. `keys` has the
    lines of a dict's keys. `block` counts from its line to where its text begins.
    """

    line: int
    value: Any
    text: str | None = None
    keys: dict[str, int] = field(default_factory=dict)
    size: int = 1
    depth: int = 1
    block: int = 0

    def line_of(self, key: str) -> int:
        """Return the line of a key, or of the dict where it has none."""
        return self.keys.get(key, self.line)


def plain(node: Node, path: Path, report: Report) -> Any:
    """Return the value of a node where any may stand; `{$secret: NAME}` is a secret.

    What people who know another YAML would take for something else is refused.
    """
    value = node.value
    if isinstance(value, list):
        return [plain(item, (*path, n), report) for n, item in enumerate(value)]
    if isinstance(value, dict):
        if value.keys() == {KEY}:
            return secret(node, path, report)
        if hint := braces(node):
            report.add(node.line, path, f"is a mapping with nothing in it; for a value of the context, {hint}")
        return {key: plain(item, (*path, key), report) for key, item in value.items()}
    if node.text is not None and _YES_OR_NO.fullmatch(node.text):
        report.add(node.line, path, f"{node.text} may be read as a text or as a bool: write true, false, or quotes")
    elif node.text is not None and _OCTAL.fullmatch(node.text):
        report.add(node.line, path, f"{node.text} may be read as octal: write quotes, or the number without the 0")
    elif type(value) not in (type(None), bool, int, float, str):
        report.add(node.line, path, f"a {type(value).__name__} can't be saved: put it in quotes")
        return None
    try:
        encode(value, "")
    except InvalidInput as error:
        report.add(node.line, path, str(error).removeprefix(": "))
    return value


def braces(node: Node) -> str:
    """Return a hint where YAML took `{name}` for a mapping."""
    if isinstance(node.value, dict) and len(node.value) == 1:
        (key, value), *_ = node.value.items()
        if value.text == "":
            return f'"{{{key}}}" needs quotes'
    return ""


def secret(node: Node, path: Path, report: Report) -> Any:
    """Return the secret of `{$secret: NAME}`."""
    name = node.value[KEY]
    try:
        return Secret(name.text if name.text is not None else name.value)
    except InvalidInput as error:
        report.add(name.line, (*path, KEY), str(error).partition("): ")[2])
        return None
