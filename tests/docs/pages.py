"""Reads the pages of the documentation, and runs the code on them as a reader would."""

import ast
import asyncio
import contextlib
import doctest
import inspect
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
# Its code is run, and its output compared, by the program that writes it.
GENERATED = DOCS / "errors.md"

_FENCE = re.compile(r"^``` ?\{?\.?(\w+)\}? *(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="(.+?)"')
_SNIPPET = re.compile(r'^--8<-- "(.+)"$', re.MULTILINE)
_CHECKER = doctest.OutputChecker()


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `line` is where its text begins."""

    language: str
    title: str | None
    text: str
    line: int
    follows: bool


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page, with the files that they include."""
    text = page.read_text()
    end = 0
    for found in _FENCE.finditer(text):
        title = _TITLE.search(found[2])
        code = _SNIPPET.sub(lambda snippet: (ROOT / snippet[1]).read_text().rstrip("\n"), found[3])
        line = text.count("\n", 0, found.start(3)) + 1
        yield Block(found[1], title and title[1], code, line, not text[end : found.start()].strip())
        end = found.end()


def prose(page: Path) -> str:
    """Return a page without its blocks."""
    return _FENCE.sub("", page.read_text())


class Reader:
    """Does in one directory what a page tells to do."""

    def __init__(self, page: Path, directory: Path) -> None:
        """Begin with an empty namespace; the directory must be the current one."""
        self._page = page
        self._directory = directory
        self._module = ModuleType("page")  # one name for all, so that pages may show the same class
        self._printed = ""
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def read(self) -> None:
        """Run all blocks of the page in order."""
        sys.modules[self._module.__name__] = self._module
        try:
            with asyncio.Runner() as runner:
                for block in blocks(self._page):
                    self._do(block, runner)
        finally:
            del sys.modules[self._module.__name__]

    def _do(self, block: Block, runner: asyncio.Runner) -> None:
        if block.language in ("python", "yaml", "toml") and block.title:
            (self._directory / block.title).write_text(block.text)
        elif block.language == "python":
            self._printed = self._run(block, runner)
        elif block.language == "text" and block.follows and self._printed:
            self._compare(block.text, self._printed, block.line)
            self._printed = ""
        elif block.language == "console":
            for command, expected in _commands(block.text):
                self._compare(expected, self._shell(command), block.line)

    def _run(self, block: Block, runner: asyncio.Runner) -> str:
        source = "\n" * (block.line - 1) + block.text
        code = compile(source, self._page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            result = eval(code, vars(self._module))  # noqa: S307 - our own documentation
            if inspect.iscoroutine(result):
                runner.run(result)
        return printed.getvalue()

    def _shell(self, command: str) -> str:
        done = subprocess.run(  # noqa: S602 - our own documentation
            command,
            shell=True,
            cwd=self._directory,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, f"{self._page.name}: $ {command}\n{done.stdout}"
        return done.stdout

    def _compare(self, expected: str, got: str, line: int) -> None:
        expected, got = (
            "".join(f"{each.rstrip()}\n" for each in text.rstrip().splitlines()) for text in (expected, got)
        )
        alike = _CHECKER.check_output(expected, got, doctest.ELLIPSIS)
        assert alike, f"{self._page.name}:{line} says\n{expected}\nbut it was\n{got}"


def _commands(text: str) -> Iterator[tuple[str, str]]:
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        yield command, expected
