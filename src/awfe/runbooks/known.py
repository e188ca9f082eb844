"""Which keys the context may have when a step begins, and which of them a step reads."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from awfe.domain.secret import KEY
from awfe.errors import InvalidInput
from awfe.runbooks.nodes import Node
from awfe.runbooks.problems import Path, Report, meant
from awfe.steps.expressions import Expression
from awfe.steps.templates import Place, parse

# The keys of a step in whose texts `{name}` is put in.
_TEMPLATES: Final = {
    "shell": ("shell", "cwd", "env", "input"),
    "hosts": ("command",),
    "http": ("http", "json", "body", "headers", "params"),
    "approval": ("approval",),
    "assert": ("message",),
    "set": ("set",),
    "subworkflow": ("subworkflow",),
}
# In these a list is several words.
_WORDS: Final = ("shell", "command")
# What code does to the context nobody can tell without running it.
_CODE: Final = ("call", "use")


class Known:
    """The keys that something before a step may have set."""

    def __init__(self, keys: Mapping[str, str | None], report: Report, *, everything: bool = False) -> None:
        """Begin with what the context has, and the types of what is declared."""
        self._keys = dict(keys)
        self._report = report
        self._everything = everything

    def inside(self, *keys: str, only: Iterable[str] | None = None) -> "Known":
        """Return what is known within a step."""
        if only is not None:
            return Known(dict.fromkeys(only), self._report)
        return Known(self._keys | dict.fromkeys(keys), self._report, everything=self._everything)

    def read(self, name: str, line: int, path: Path, shown: str, where: str = "before this step") -> None:
        """Note that a key is read."""
        if not self._everything and name not in self._keys:
            hint = meant(name, sorted(self._keys)).replace("there is none", "the context is empty")
            self._report.add(line, path, f"{shown}: nothing sets {name!r} {where}; {hint}")

    def check(self, kind: str, node: Node, path: Path) -> None:
        """Look at all that a step reads."""
        inner = self.inside("host") if kind == "hosts" else self
        for key in _TEMPLATES.get(kind, ()):
            if key in node.value:
                for leaf, at in _texts(node.value[key], (*path, key)):
                    inner._check_template(leaf, at)  # noqa: SLF001 - of its own class
        if kind in ("hosts", "foreach"):
            self._check_key(node.value[kind], (*path, kind))
        if kind == "assert":
            self._check_expression(node.value["assert"], (*path, "assert"))

    def learn(self, kind: str, node: Node) -> None:
        """Take in what a step sets."""
        self._everything = self._everything or kind in _CODE
        saved = node.value.get("save_as")
        if saved is not None and isinstance(saved.value, str):
            self._keys |= {saved.value: None, f"{saved.value}_failed": None}
        if kind == "set":
            self._keys |= dict.fromkeys(_names(node.value["set"]))
            for key in _names(node.value.get("unset")):
                self._keys.pop(key, None)

    def _check_template(self, leaf: Node, path: Path) -> None:
        text = leaf.text if leaf.text is not None else leaf.value
        try:
            parts = parse(text, "template")
        except InvalidInput as error:
            # What is no text was told of already.
            if str(error).startswith("template: "):
                self._report.add(leaf.line, path, str(error).removeprefix("template: "))
            return
        for part in parts:
            if isinstance(part, Place):
                above = leaf.value[: leaf.value.find(part.text)].count("\n")
                line = leaf.line + (leaf.block + above if leaf.block else 0)
                name = str(part.keys[0])
                self.read(name, line, path, part.text)
                inside = len(parts) > 1 and len(part.keys) == 1 and path[-1] not in _WORDS
                if inside and self._keys.get(name) == "list":
                    self._report.add(line, path, f"{part.text} is a list, which can't stand inside of a text")

    def _check_key(self, node: Node, path: Path) -> None:
        name = node.value
        if not isinstance(name, str):
            return
        if name[:1] == "{" and name[-1:] == "}":
            self._report.add(node.line, path, f"{name:.60} is no key of the context: write it without braces")
        else:
            self.read(name, node.line, path, repr(name))
            if self._keys.get(name) not in (None, "list"):
                self._report.add(node.line, path, f"{name!r} is declared as {self._keys[name]}; a list is needed")

    def _check_expression(self, node: Node, path: Path) -> None:
        try:
            names = Expression(node.text if node.text is not None else node.value).names
        except InvalidInput:
            return
        for name in sorted(names):
            self.read(name, node.line, path, name)


def _texts(node: Node, path: Path) -> Iterator[tuple[Node, Path]]:
    value: Any = node.value
    if isinstance(value, list):
        for n, item in enumerate(value):
            yield from _texts(item, (*path, n))
    elif isinstance(value, dict):
        if value.keys() != {KEY}:
            for key, item in value.items():
                yield from _texts(item, (*path, key))
    elif isinstance(value, str):
        yield node, path


def _names(node: Node | None) -> set[str]:
    if node is None:
        return set()
    if isinstance(node.value, dict):
        return set(node.value)
    return {each.value for each in node.value if isinstance(each.value, str)} if isinstance(node.value, list) else set()
