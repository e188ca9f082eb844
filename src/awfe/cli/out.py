"""What a command prints: text for people, one JSON document for programs."""

import io
import json
import os
import sys
from typing import IO, Any

from rich.console import Console, RenderableType
from rich.text import Text

# A pipe has no width: what is cut off there is lost to whoever reads it.
_ENDLESS = 100_000
_KEPT = "\n\t"


class Out:
    """Standard output and standard error; a reader that has gone away, as `head` does, ends nothing.

    `is_gone` says that nobody reads any more, `is_lost` that it is for another reason, such as a full disk.
    """

    def __init__(self, *, as_json: bool) -> None:
        """Print to the streams of this process."""
        self.as_json = as_json
        self.is_gone = False
        self.is_lost = False
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # a locale may have no ✓
        self.is_terminal = sys.stdout.isatty() and not as_json
        self.console = Console(
            width=None if self.is_terminal else _ENDLESS, highlight=False, soft_wrap=not self.is_terminal
        )

    def show(self, *renderables: RenderableType, soft_wrap: bool = False) -> None:
        """Print what rich can render."""
        with self.console.capture() as captured:
            self.console.print(*renderables, sep="\n", soft_wrap=soft_wrap or None)
        text = captured.get()
        if not self.is_terminal:
            # Columns are filled up to their width, which in a file is only in the way.
            text = "".join(f"{line.rstrip(' ')}\n" for line in text.splitlines())
        self._write(sys.stdout, text)

    def line(self, text: str, style: str = "") -> None:
        """Print a line of text, unless programs read."""
        if not self.as_json:
            # Where a line goes on in the next one, the terminal knows that it is one.
            self.show(Text(clean(text), style), soft_wrap=True)

    def document(self, data: Any) -> None:
        """Print a JSON document on a line of its own."""
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        self._write(sys.stdout, f"{text}\n")

    def note(self, text: str) -> None:
        """Tell on standard error what is no result."""
        self._write(sys.stderr, f"awfe: {clean(text)}\n")

    def hint(self, command: str, why: str = "see") -> None:
        """Tell, unless programs read, what to type next."""
        if not self.as_json:
            self.note(f"{why} {command}")

    def flush(self) -> None:
        """Hand over what is still kept."""
        for stream in (sys.stdout, sys.stderr):
            self._write(stream, "")

    def _write(self, stream: IO[str], text: str) -> None:
        try:
            stream.write(text)
            stream.flush()
        except BrokenPipeError:
            self._leave(stream)
        except OSError as error:
            self._leave(stream)
            if stream is sys.stdout:
                self.is_lost = True
                self.note(f"standard output can't be written: {error.strerror}")

    def _leave(self, stream: IO[str]) -> None:
        """Write to nowhere from now on."""
        self.is_gone = self.is_gone or stream is sys.stdout
        # What Python still keeps for this stream goes nowhere, so that it does not complain at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def clean(text: str) -> str:
    """Return a text that can't steer a terminal: control characters are shown as Python writes them."""
    return "".join(c if c.isprintable() or c in _KEPT else repr(c)[1:-1] for c in text)
