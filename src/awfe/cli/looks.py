"""How states, times and tables look."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from awfe.cli.out import clean

_STYLES = {
    "completed": "green",
    "running": "bold blue",
    "rolling_back": "bold magenta",
    "waiting": "cyan",
    "paused": "yellow",
    "stopped": "yellow",
    "skipped": "yellow",
    "error": "bold red",
    "interrupted": "bold red",
    "undone": "magenta",
    "rolled_back": "magenta",
}
_MARKS = {
    "completed": "✓",
    "running": "▶",
    "waiting": "…",
    "skipped": "↷",
    "error": "✗",
    "interrupted": "✗",
    "stopped": "■",
    "undone": "↶",
}
_MINUTE, _HOUR = 60, 3600


def state(name: str) -> Text:
    """Return a state in its colour."""
    return Text(name, _STYLES.get(name, ""))


def mark(name: str) -> Text:
    """Return a step's state as one character, in its colour."""
    return Text(_MARKS.get(name, "·"), _STYLES.get(name, ""))


def moment(at: datetime | None) -> str:
    """Return a time in the local zone, to the second."""
    return "" if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def span(began: datetime | None, ended: datetime | None) -> str:
    """Return how long something took, or takes by now."""
    if began is None:
        return ""
    seconds = max(0.0, ((ended or datetime.now(UTC)) - began).total_seconds())
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    minutes, left = divmod(int(seconds), _MINUTE)
    return f"{minutes}:{left:02} min" if seconds < _HOUR else f"{minutes // 60}:{minutes % 60:02} h"


def table(headings: Sequence[str], rows: Iterable[Sequence[str | Text]], *, head: bool = True) -> Table:
    """Return a table without a frame; the last column gives way where the terminal is narrow."""
    made = Table(box=None, pad_edge=False, header_style="bold", show_header=head)
    for number, heading in enumerate(headings, 1):
        last = number == len(headings)
        made.add_column(heading, no_wrap=not last, overflow="fold" if last else "ellipsis")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(clean(cell)) for cell in row))
    return made
