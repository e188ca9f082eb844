"""A program in a terminal of its own, as a person has it before them."""

import errno
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.programs import dying_with_parent

_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\].*?\x07|[()][A-Z0-9])")
_LONGEST = 60.0


class Terminal:
    """Starts a program with a pseudo-terminal as its terminal; what it shows is read as it comes."""

    def __init__(
        self, arguments: Sequence[str], environ: Mapping[str, str], cwd: Path, size: tuple[int, int] = (30, 100)
    ) -> None:
        """Begin; `size` is in lines and columns."""
        self.raw = ""
        die_with_parent = dying_with_parent(signal.SIGKILL)
        self.pid, self._fd = pty.fork()
        if not self.pid:
            die_with_parent()
            os.chdir(cwd)
            os.execve(arguments[0], [*arguments], {**environ})  # noqa: S606 - our own program
        self.resize(*size)
        self._code: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._fd)

    @property
    def text(self) -> str:
        """All that it has shown, without what steers the terminal."""
        return _ESCAPES.sub("", self.raw).replace("\r", "")

    def resize(self, lines: int, columns: int) -> None:
        """Change the size of the terminal, which the program is told by a signal."""
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys: str) -> None:
        r"""Type something: `\x03` is Ctrl-C."""
        os.write(self._fd, keys.encode())

    def hang_up(self) -> None:
        """Close the terminal, as the end of a connection does."""
        os.close(self._fd)

    def until(self, wanted: str, *, since: int = 0) -> None:
        """Return when a text has been shown, at or after a place in `text`."""
        deadline = time.monotonic() + _LONGEST
        while wanted not in self.text[since:]:
            assert time.monotonic() < deadline, f"{wanted!r} is not in {self.text!r}"
            assert self._read(), f"it ended without {wanted!r}: {self.text!r}"

    def end(self) -> int:
        """Return its exit code when it has ended."""
        deadline = time.monotonic() + _LONGEST
        while self._read():
            assert time.monotonic() < deadline, self.text
        _, status = os.waitpid(self.pid, 0)
        self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def _read(self) -> bool:
        if not select.select([self._fd], [], [], 0.1)[0]:
            return True
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError as error:
            if error.errno != errno.EIO:  # which says that nobody has the terminal open any more
                raise
            return False
        self.raw += data.decode(errors="replace")
        return bool(data)
