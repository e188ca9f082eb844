"""What the processes of a chaos run write down, in the order in which it happened.

All append to one file, each line with one write: so the order of the lines is that of the events, and a line that was
written outlives its process.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class Journal:
    """One file that many processes append to."""

    def __init__(self, path: Path) -> None:
        """Open it; the descriptor lives as long as the process."""
        self.path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, kind: str, **about: Any) -> None:
        """Append a line: it is in the file when this returns."""
        entry = {"kind": kind, "pid": os.getpid(), **about}
        os.write(self._descriptor, json.dumps(entry, separators=(",", ":")).encode() + b"\n")


def read(path: Path) -> Iterator[Entry]:
    """Yield the lines of a journal."""
    with path.open("rb") as file:
        for line in file:
            yield json.loads(line)
