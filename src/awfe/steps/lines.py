"""Output of several sources at once, line by line, each with its name before it."""

from collections.abc import Callable

_LONGEST = 8_192


class Lines:
    """Passes on whole lines with a prefix; one that is longer than 8 KiB is cut."""

    def __init__(self, prefix: str, write: Callable[[str], None]) -> None:
        """Begin with an empty line."""
        self._prefix = prefix
        self._write = write
        self._rest = ""

    def add(self, text: str) -> None:
        """Take some text, and pass on the lines that it completes."""
        *whole, self._rest = (self._rest + text).split("\n")
        for line in whole:
            self._pass_on(line)
        while len(self._rest) > _LONGEST:
            self._pass_on(self._rest[:_LONGEST])
            self._rest = self._rest[_LONGEST:]

    def end(self) -> None:
        """Pass on a last line that had no end."""
        if self._rest:
            self._pass_on(self._rest)
            self._rest = ""

    def _pass_on(self, line: str) -> None:
        self._write(f"{self._prefix}{line}\n")
