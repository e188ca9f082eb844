"""TOML: what `tomllib` reads, with the lines that it does not tell.

The text is read twice: by `tomllib`, which alone says what it means and whether it is TOML at all, and by a scanner
that only follows the keys of a text that is known to be good.
"""

import re
import tomllib
from collections.abc import Iterator
from typing import Any, Final

from awfe.runbooks import wording
from awfe.runbooks.nodes import MAX_DEPTH, MAX_NODES, Node
from awfe.runbooks.problems import Path, Report

_BLANK: Final = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_TEXT: Final = re.compile(r"""\"{3}(?:[^\\]|\\.)*?\"{3,5}|'{3}.*?'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""", re.DOTALL)
_BARE_KEY: Final = re.compile(r"[\w-]+")
_BARE: Final = re.compile(r"[^,\]}#\n]+")


def read(text: str, report: Report) -> Node | None:
    """Return what a text has; None where it is no TOML."""
    text = text.replace("\r\n", "\n")
    try:
        values = tomllib.loads(text)
    except RecursionError:
        report.add(0, (), f"nested deeper than {MAX_DEPTH} levels")
        return None
    except ValueError as error:
        line, key, said = wording.of_toml(text, error)
        report.add(line, () if key is None else (key,), f"this is not TOML: {said}")
        return None
    try:
        return _Nodes(dict(_Scanner(text).places())).node(values, (), 1)
    except ValueError as error:
        report.add(0, (), str(error))
        return None


class _Nodes:
    """Puts values and lines together."""

    def __init__(self, lines: dict[Path, int]) -> None:
        self._lines = lines
        self._count = 0

    def node(self, value: Any, path: Path, line: int) -> Node:
        self._count += 1
        if len(path) >= MAX_DEPTH or self._count > MAX_NODES:
            msg = f"more than {MAX_NODES} values, or nested deeper than {MAX_DEPTH} levels"
            raise ValueError(msg)
        line = self._lines.get(path, line)
        if isinstance(value, list):
            return Node(line, [self.node(item, (*path, n), line) for n, item in enumerate(value)])
        if isinstance(value, dict):
            parts = {key: self.node(item, (*path, key), line) for key, item in value.items()}
            return Node(line, parts, keys={key: self._lines.get((*path, key), line) for key in value})
        return Node(line, value)


class _Scanner:
    """Follows a text that is TOML."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        # How many tables an array of tables has by now.
        self._tables: dict[Path, int] = {}

    def places(self) -> Iterator[tuple[Path, int]]:
        """Yield the path of each key and each item, with its line; where a key is opened again, its first."""
        found: dict[Path, int] = {}
        table: Path = ()
        while self._skip(_BLANK) or self._at < len(self._text):
            if self._at == len(self._text):
                break
            if self._peek("["):
                table = self._header(found)
            else:
                self._pair(table, found)
        yield from found.items()

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        text = match[0] if match else ""
        self._at += len(text)
        self._line += text.count("\n")
        return text

    def _peek(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _header(self, found: dict[Path, int]) -> Path:
        array = self._peek("[[")
        self._at += 1 + array
        line = self._line
        names = self._key()
        path: Path = ()
        for n, name in enumerate(names, 1):
            path = (*path, name)
            found.setdefault(path, line)
            if array and n == len(names):
                self._tables[path] = self._tables.get(path, -1) + 1
            if path in self._tables:
                path = (*path, self._tables[path])
                found.setdefault(path, line)
        self._skip(_SPACE)
        self._at += 1 + array
        return path

    def _key(self) -> list[str]:
        names = []
        while True:
            self._skip(_SPACE)
            quoted = self._peek('"') or self._peek("'")
            text = self._skip(_TEXT if quoted else _BARE_KEY)
            names.append(str(tomllib.loads(f"key = {text}")["key"]) if quoted else text)
            self._skip(_SPACE)
            if not self._peek("."):
                return names
            self._at += 1

    def _pair(self, table: Path, found: dict[Path, int]) -> None:
        line, path = self._line, table
        for name in self._key():
            path = (*path, name)
            found.setdefault(path, line)
        self._at += 1
        self._skip(_SPACE)
        self._value(path, found)

    def _value(self, path: Path, found: dict[Path, int]) -> None:
        if self._peek("["):
            self._at += 1
            number = 0
            while self._skip(_BLANK) is not None and not self._peek("]"):
                if self._peek(","):
                    self._at += 1
                    continue
                found[*path, number] = self._line
                self._value((*path, number), found)
                number += 1
            self._at += 1
        elif self._peek("{"):
            self._at += 1
            while self._skip(_BLANK) is not None and not self._peek("}"):
                if self._peek(","):
                    self._at += 1
                else:
                    self._pair(path, found)
            self._at += 1
        else:
            self._skip(_TEXT) or self._skip(_BARE)
