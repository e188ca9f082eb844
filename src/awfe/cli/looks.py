"""How states, times and tables look."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.segment import Segment
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
_GAP = 2
_LEAST = 30  # so many columns are worth to be folded in
_INDENT = 4


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


class Rows:
    """A table without a frame. Where a terminal is too narrow for the last column, that stands below each row."""

    def __init__(self, headings: Sequence[str], rows: Iterable[Sequence[str | Text]], *, head: bool) -> None:
        """Take the rows."""
        self._headings, self._head = headings, head
        self._rows = [[*map(_line, row[:-1]), _text(row[-1])] for row in rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        short = self._table(len(self._headings) - 1)
        room = options.max_width - console.measure(short, options=options).maximum - _GAP
        if room >= min(_LEAST, max((row[-1].cell_len for row in self._rows), default=0)):
            yield self._table(len(self._headings))
            return
        lines = console.render_lines(short, options, pad=False)
        below = [Text(), *(row[-1] for row in self._rows)] if self._head else [row[-1] for row in self._rows]
        for line, last in zip(lines, below, strict=True):
            yield from (*line, Segment.line())
            if last:
                yield Padding(last, (0, 0, 0, _INDENT))

    def _table(self, columns: int) -> Table:
        made = Table(box=None, pad_edge=False, header_style="bold", show_header=self._head)
        for number, heading in enumerate(self._headings[:columns], 1):
            last = number == len(self._headings)
            made.add_column(heading, no_wrap=not last, overflow="fold" if last else "ellipsis")
        for row in self._rows:
            made.add_row(*row[:columns])
        return made


def _text(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(clean(cell))


def _line(cell: str | Text) -> Text:
    """Return a cell of one line: what stands below its row is found by counting them."""
    return cell if isinstance(cell, Text) else Text(" ".join(clean(cell).splitlines()))


def table(headings: Sequence[str], rows: Iterable[Sequence[str | Text]], *, head: bool = True) -> Rows:
    """Return a table; only its last column may be long."""
    return Rows(headings, rows, head=head)
