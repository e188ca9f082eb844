"""What is wrong with a runbook: each problem with its place, all of them at once."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from awfe.errors import InvalidInput

Path = tuple[str | int, ...]

_FEW = 20
_LONG = 200
_PLAIN = re.compile(r"[\w$-]+")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; `line` counts from 1, and is 0 where the whole file is meant."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        """Return it as a line: `file:line: key: message`."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(filter(None, (place, self.key, self.message)))


class RunbookInvalid(InvalidInput):
    """A file is no runbook that could be run; `problems` has all that is wrong with it, each a line of the message."""

    __module__ = "awfe.runbooks"  # from where it is imported

    def __init__(self, problems: Iterable[Problem]) -> None:
        """Keep the problems in the order of their lines."""
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        super().__init__("\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[type, tuple[tuple[Problem, ...]]]:
        """Make it again from its problems."""
        return type(self), (self.problems,)


class Report:
    """Gathers the problems of one file."""

    def __init__(self, file: str) -> None:
        """Begin without any."""
        self._file = file
        self._problems: dict[Problem, None] = {}
        # What has been told of each part, and of all that is in it.
        self._within: dict[Path, list[str]] = {}

    @property
    def problems(self) -> list[Problem]:
        """All of them, in the order in which they were found."""
        return list(self._problems)

    def __len__(self) -> int:
        """Count them."""
        return len(self._problems)

    def add(self, line: int, path: Path, message: str) -> None:
        """Note one; what comes from elsewhere is cut to a line, and the same thing is only said once."""
        for depth in range(1, len(path) + 1):
            self._within.setdefault(path[:depth], []).append(message)
        self._problems[Problem(self._file, line, shown(path), " ".join(message.split())[:1000])] = None

    def has(self, path: Path) -> bool:
        """Tell whether something is wrong there, or within."""
        return path in self._within

    def said(self, path: Path, message: str) -> bool:
        """Tell whether a message ends with what has been told of a part."""
        return any(map(message.endswith, self._within.get(path, ())))


def shown(path: Path) -> str:
    """Return a path as people read it: steps by their number, all else by its keys."""
    places = [""]
    for n, part in enumerate(path):
        before, after = path[n - 1] if n else None, path[n + 1] if n + 1 < len(path) else None
        if isinstance(part, int):
            if before == "steps":
                places += [f"step {part + 1}", ""]
            else:
                places[-1] += f"[{part}]"
        elif part != "steps" or not isinstance(after, int):
            name = part if _PLAIN.fullmatch(part) else f"{part!r:.60}"
            places[-1] += f".{name}" if places[-1] else name
    text = ": ".join(filter(None, places))
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"


def meant(word: str, known: Iterable[str]) -> str:
    """Return a hint at the name that was meant, or what there is."""
    listed = list(known)
    if close := difflib.get_close_matches(word[:100], listed, n=1):
        return f"did you mean {close[0]!r}?"
    few = ", ".join(listed[:_FEW]) + (", …" if len(listed) > _FEW else "")
    return f"there is {few}" if listed else "there is none"
