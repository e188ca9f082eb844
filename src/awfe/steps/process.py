"""A command that runs under a supervisor, and what it prints."""

import asyncio
import codecs
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from awfe.errors import InvalidInput

_SUPERVISOR = str(Path(__file__).with_name("supervisor.py"))
_CHUNK = 1 << 16
# What a pipe can hold at most, about: what was printed before the end is in it.
_LEFT_IN_PIPE = 1 << 20
_LONGEST_LINE = 8 << 10
# What the supervisor needs beyond the grace, on a busy machine too.
_PATIENCE = 15.0
_POLL = 0.002


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit code, or the signal that ended it, or why it could not begin."""

    code: int | None = None
    signal: int | None = None
    failed: tuple[str, int] | None = None
    all_gone: bool = True

    @classmethod
    def of(cls, told: str) -> "Ended":
        """Read what the supervisor told; nothing, when it was killed itself."""
        words = {word: rest for word, _, rest in (line.partition(" ") for line in told.splitlines())}
        gone = "left" not in words
        if "failed" in words:
            stage, errno = words["failed"].split()
            return cls(failed=(stage, int(errno)), all_gone=gone)
        if "exit" in words:
            return cls(code=int(words["exit"]), all_gone=gone)
        return cls(signal=int(words.get("signal", signal.SIGKILL)), all_gone=gone)


class Process:
    """A command in a process group of its own, which never outlives this process.

    It runs from now on. `outputs` are where its standard output and its standard error go; with one, both go there.
    Await `ended()`, and in any case `end()`.
    """

    def __init__(
        self,
        command: Sequence[bytes],
        cwd: str,
        env: Mapping[bytes, bytes],
        stdin: str | None,
        *,
        grace: float,
        outputs: Sequence[Callable[[bytes], object]],
    ) -> None:
        """Start it; raises `InvalidInput` when it is too long for the system."""
        self._grace = grace
        self._told = ""
        self._pid: int | None = None
        self._control, theirs = socket.socketpair()
        self._pipes: list[_Pipe] = []
        ends: list[int] = []
        source = None if stdin is None else _as_file(stdin)
        try:
            for output in outputs:
                end, write = os.pipe()
                ends.append(write)
                self._pipes.append(_Pipe(end, output))
            program = [sys.executable.encode(), b"-I", b"-S", _SUPERVISOR.encode()]
            about = [str(theirs.fileno()).encode(), repr(grace).encode(), cwd.encode()]
            # Not asyncio's: that can be cancelled in the middle, and would then kill the supervisor alone.
            self._popen = subprocess.Popen(  # noqa: S603 - running what the user says is what it is for
                [*program, *about, *command],
                stdin=subprocess.DEVNULL if source is None else source,
                stdout=ends[0],
                stderr=ends[-1],
                env=env,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except BaseException as error:
            self._control.close()
            self._close_pipes()
            if isinstance(error, OSError):
                msg = f"the command can't be started: {error.strerror}; give what is long as input="
                raise InvalidInput(msg) from error
            raise
        finally:
            theirs.close()
            for end in ends:
                os.close(end)
            if source is not None:
                source.close()
        self._control.setblocking(False)  # noqa: FBT003 - the socket's own way
        self._listening = asyncio.create_task(self._listen())

    async def ended(self) -> Ended:
        """Return how it ended; all that it printed has been passed on."""
        await asyncio.wait({self._listening})
        self._close_pipes()
        return Ended.of(self._told)

    async def end(self) -> Ended:
        """End its group: TERM, and KILL after the grace; returns when it is gone."""
        if not self._listening.done():
            self._control.shutdown(socket.SHUT_WR)
            await asyncio.wait({self._listening}, timeout=self._grace + _PATIENCE)
        if not self._listening.done() or not self._told:
            self._kill()
            self._listening.cancel()
        self._close_pipes()
        self._control.close()
        while self._popen.poll() is None:  # noqa: ASYNC110 - it is about to end; a thread that waits would cost more
            await asyncio.sleep(_POLL)
        return Ended.of(self._told)

    async def _listen(self) -> None:
        """Take in what the supervisor tells, until it ends."""
        loop = asyncio.get_running_loop()
        told = b""
        while chunk := await loop.sock_recv(self._control, 4096):
            told += chunk
            self._pid = _pid(told)
        if told.count(b"\n") < 2:  # noqa: PLR2004 - it tells the pid, and how that ended
            # The supervisor was killed: nobody else ends the group.
            self._kill()
        self._told = told.decode()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            self._popen.kill()
            if self._pid is not None:
                os.killpg(self._pid, signal.SIGKILL)

    def _close_pipes(self) -> None:
        for pipe in self._pipes:
            pipe.close()
        self._pipes = []


def _pid(told: bytes) -> int | None:
    line, newline, _ = told.partition(b"\n")
    return int(line.split()[1]) if newline and line.startswith(b"pid ") else None


def _as_file(text: str) -> IO[bytes]:
    """Return a file that holds a text, in memory where that can be."""
    memfd = getattr(os, "memfd_create", None)
    file: IO[bytes] = tempfile.TemporaryFile() if memfd is None else os.fdopen(memfd("input"), "w+b")  # noqa: SIM115 - the caller closes it
    file.write(text.encode())
    file.seek(0)
    return file


class _Pipe:
    """The end of a pipe at which a command's output is read."""

    def __init__(self, end: int, on_data: Callable[[bytes], object]) -> None:
        self._end = end
        self._on_data = on_data
        self._loop = asyncio.get_running_loop()
        os.set_blocking(end, False)
        self._open = True
        self._loop.add_reader(end, self._read)

    def _read(self) -> int:
        try:
            data = os.read(self._end, _CHUNK)
        except BlockingIOError:
            return 0
        if not data:
            self._loop.remove_reader(self._end)
        self._on_data(data)
        return len(data)

    def close(self) -> None:
        """Read what is left, and close; somebody who left the group may hold the other end for ever."""
        left = _LEFT_IN_PIPE
        while left > 0 and (read := self._read()):
            left -= read
        self._loop.remove_reader(self._end)
        os.close(self._end)
        self._on_data(b"")


class Lines:
    """Makes lines of bytes, whatever they are; the last may be a part, and so are the pieces of a very long one."""

    def __init__(self, on_line: Callable[[str], object]) -> None:
        """Hand each line, with its end, to a function."""
        self._on_line = on_line
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._partial = ""

    def feed(self, data: bytes) -> None:
        """Take bytes; no bytes are the end."""
        *lines, self._partial = (self._partial + self._decoder.decode(data, final=not data)).split("\n")
        for line in lines:
            self._pass(f"{line}\n")
        if len(self._partial) > _LONGEST_LINE or not data:
            partial, self._partial = self._partial, ""
            self._pass(partial)

    def _pass(self, text: str) -> None:
        for start in range(0, len(text), _LONGEST_LINE):
            self._on_line(text[start : start + _LONGEST_LINE])
