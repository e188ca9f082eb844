"""A process that forks workers from itself: the start of an interpreter takes longer than many a worker lives.

It reads a worker's orders, one JSON object in a line, from its standard input and answers `{"born": pid}`; of each
that has ended it tells `{"gone": pid, "status": …}`. At the end of its input it kills those that are left.
"""

import json
import os
import select
import signal
import sys
import traceback
from contextlib import suppress
from typing import Any

from awfe.testing.chaos import worker


class Nursery:
    """The children of this process."""

    def __init__(self) -> None:
        """Watch for the end of children."""
        self._children: set[int] = set()
        self._bell, self._ringing = os.pipe()
        os.set_blocking(self._bell, False)
        os.set_blocking(self._ringing, False)
        signal.set_wakeup_fd(self._ringing)
        signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
        # Ctrl-C is for who started us; he closes our input.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def serve(self) -> None:
        """Fork what is ordered until the input ends."""
        pending = b""
        while True:
            ready, _, _ = select.select([0, self._bell], [], [])
            if self._bell in ready:
                self._reap()
            if 0 not in ready:
                continue
            data = os.read(0, 1 << 16)
            if not data:
                break
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                self._fork(json.loads(line))
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)

    def _fork(self, orders: dict[str, Any]) -> None:
        pid = os.fork()
        if pid:
            self._children.add(pid)
            _tell({"born": pid})
            return
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(orders["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        try:
            worker.main(worker.Orders(**orders))
        except BaseException:  # noqa: BLE001 - whatever it is, it ends this child, and the status tells
            traceback.print_exc()
            sys.exit(1)
        sys.exit(0)

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._bell, 1 << 16)
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            self._children.discard(pid)
            _tell({"gone": pid, "status": os.waitstatus_to_exitcode(status)})


def _tell(what: dict[str, int]) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    Nursery().serve()
