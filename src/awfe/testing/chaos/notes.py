"""What the journal says about each workflow."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from awfe.testing.chaos import journal

# The position of its step, and its number.
Attempt = tuple[int, int]


@dataclass(slots=True)
class Body:
    """The body of an attempt that began, or ended, in a process."""

    attempt: Attempt
    pid: int


@dataclass(slots=True)
class Ran:
    """A workflow that `run` returned; `after`: so many bodies had begun when that was written down."""

    revision: int
    state: str
    context: dict[str, Any]
    after: int


@dataclass(slots=True)
class Notes:
    """The lines about one workflow, each kind in its order; `asked`: verb and what came of it, by number."""

    created: bool = False
    begun: list[Body] = field(default_factory=list)
    ended: list[Body] = field(default_factory=list)
    ran: list[Ran] = field(default_factory=list)
    asked: dict[str, tuple[str, str]] = field(default_factory=dict)

    def add(self, entry: journal.Entry) -> None:
        """Take a line of the journal."""
        kind = entry["kind"]
        if kind == "created":
            self.created = True
        elif kind in ("begin", "end"):
            body = Body((entry["position"], entry["attempt"]), entry["pid"])
            (self.begun if kind == "begin" else self.ended).append(body)
        elif kind == "ran":
            self.ran.append(Ran(entry["revision"], entry["state"], entry["context"], len(self.begun)))
        elif "number" in entry:
            self.asked[str(entry["number"])] = entry["verb"], kind


@dataclass(slots=True)
class Book:
    """A whole journal; `frozen`: processes that were stopped, `broken`: errors that no verb may raise."""

    workflows: dict[str, Notes] = field(default_factory=lambda: defaultdict(Notes))
    frozen: set[int] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> "Book":
        """Read a journal."""
        book = cls()
        for entry in journal.read(path):
            if entry["kind"] == "freeze":
                book.frozen.add(entry["frozen"])
            if entry["kind"] == "broke":
                about = f"{entry['workflow']!r}: {entry.get('verb', 'run')}"
                book.broken.append(f"{about} raised what no verb may raise: {entry['error']}")
            if "workflow" in entry:
                book.workflows[entry["workflow"]].add(entry)
        return book
