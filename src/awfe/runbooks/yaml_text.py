"""YAML, as version 1.2 has it: only `true` and `false` are bools, no key stands twice, no tag makes an object.

It is read from the events of PyYAML's parser, so every value knows its line, and nothing is ever constructed.
"""

import re
from typing import Any, Final

import yaml

from awfe.runbooks import wording
from awfe.runbooks.nodes import MAX_DEPTH, MAX_NODES, Node
from awfe.runbooks.problems import Path, Report

_CONSTANTS: Final[dict[str, Any]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT: Final = re.compile(r"[-+]?\d{1,400}", re.ASCII)
_BASE: Final = re.compile(r"0o[0-7]{1,400}|0x[0-9a-fA-F]{1,400}")
_FLOAT: Final = re.compile(r"[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?|[-+]?\.inf|\.nan", re.ASCII)
_TEXT: Final = "tag:yaml.org,2002:str"
_MERGE: Final = "<<"


class Unreadable(Exception):
    """Nothing after this can be read."""


def read(text: str, report: Report) -> Node | None:
    """Return what a text has; None where it is no YAML."""
    loader = None
    try:
        loader = yaml.BaseLoader(text)
        return _Reader(loader, report).document()
    except yaml.MarkedYAMLError as error:
        said, where_it_begins = wording.of_yaml(str(error.problem or error.context))
        marks = (
            (error.context_mark, error.problem_mark) if where_it_begins else (error.problem_mark, error.context_mark)
        )
        mark = marks[0] or marks[1]
        report.add(mark.line + 1 if mark else 0, (), f"this is not YAML: {said}")
    except yaml.reader.ReaderError as error:
        said = f"the character {text[error.position]!r} can't be here"
        report.add(text.count("\n", 0, error.position) + 1, (), f"this is not YAML: {said}")
    except (ValueError, OverflowError):
        # PyYAML makes a character of each number that follows a \U.
        report.add(loader.line + 1 if loader else 0, (), "this is not YAML: an escape here is no character")
    except Unreadable:
        pass
    return None


def scalar(text: str) -> Any:
    """Return what a plain scalar means where no text is wanted."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _BASE.fullmatch(text):
        return int(text, 0)
    return float(text.replace(".inf", "inf").replace(".nan", "nan")) if _FLOAT.fullmatch(text) else text


class _Reader:
    """Makes nodes of events."""

    def __init__(self, loader: yaml.BaseLoader, report: Report) -> None:
        self._events: Any = iter(loader.get_event, None)
        self._report = report
        self._anchors: dict[str, Node | None] = {}

    def document(self) -> Node:
        """Read the only document."""
        found: list[Node] = []
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if found:
                    self._fail(event, (), "a second document begins here: put it in a file of its own")
                found.append(self._node(next(self._events), (), 1))
        return found[0] if found else Node(1, None)

    def _fail(self, event: Any, path: Path, message: str) -> Any:
        self._report.add(event.start_mark.line + 1, path, message)
        raise Unreadable

    def _node(self, event: Any, path: Path, depth: int) -> Node:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            found = self._anchors.get(str(event.anchor))
            if found is None:
                said = "stands inside of itself" if event.anchor in self._anchors else "has no anchor before it"
                return self._fail(event, path, f"*{event.anchor} {said}")  # type: ignore[no-any-return]  # it raises
            return self._within(found, event, path, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if depth > MAX_DEPTH:
            self._fail(event, path, f"nested deeper than {MAX_DEPTH} levels")
        if event.tag is not None and not (event.tag == _TEXT and isinstance(event, yaml.ScalarEvent)):
            shown = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._report.add(line, path, f"the tag {shown} can't be used: leave it out")
        if isinstance(event, yaml.ScalarEvent):
            node = _scalar(event, line)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._list(line, path, depth)
        else:
            node = self._dict(line, path, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return self._within(node, event, path, depth)

    def _within(self, node: Node, event: Any, path: Path, depth: int) -> Node:
        """Refuse what aliases have made larger than any runbook is."""
        if node.size > MAX_NODES or depth + node.depth > MAX_DEPTH + 1:
            self._fail(event, path, f"more than {MAX_NODES} values, or nested deeper than {MAX_DEPTH} levels")
        return node

    def _list(self, line: int, path: Path, depth: int) -> Node:
        items: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items)), depth + 1))
        return _sized(Node(line, items), items)

    def _dict(self, line: int, path: Path, depth: int) -> Node:
        values: dict[str, Node] = {}
        keys: dict[str, int] = {}
        merged: list[Node] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            at = event.start_mark.line + 1
            key = self._key(event, path, depth)
            event = next(self._events)
            value = self._node(event, path if key is None else (*path, key), depth + 1)
            if isinstance(event, yaml.CollectionStartEvent) and not event.flow_style:
                # It begins below its key; who looks for it looks there.
                value.line = at
            if key == _MERGE:
                merged += self._merged(value, path)
            elif key in values:
                self._report.add(at, (*path, key), f"the key stands twice, in line {keys[key]} too: leave one out")
            elif key is not None:
                values[key], keys[key] = value, at
        # As in a merge of YAML 1.1: what is written here wins, then the first that is merged.
        for other in merged:
            for key, value in other.value.items():
                if key not in values:
                    values[key], keys[key] = value, other.keys[key]
        return _sized(Node(line, values, keys=keys), list(values.values()))

    def _key(self, event: Any, path: Path, depth: int) -> str | None:
        node = self._node(event, path, depth + 1)
        text = node.text if node.text is not None else node.value
        if isinstance(text, str) and text:
            return text
        self._report.add(node.line, path, "a key must be a text")
        return None

    def _merged(self, value: Node, path: Path) -> list[Node]:
        found = value.value if isinstance(value.value, list) else [value]
        if all(isinstance(each.value, dict) for each in found):
            return found
        self._report.add(value.line, (*path, _MERGE), "give an alias of a mapping, or a list of such")
        return []


def _scalar(event: Any, line: int) -> Node:
    if event.implicit[0]:
        return Node(line, scalar(event.value), event.value)
    return Node(line, event.value, block=int(event.style == "|"))


def _sized(node: Node, parts: list[Node]) -> Node:
    node.size += sum(part.size for part in parts)
    node.depth += max((part.depth for part in parts), default=0)
    return node
