"""Programs that the tests start beside themselves: where they are, and that they don't outlive them."""

import ctypes
import os
import shutil
import signal
from collections.abc import Callable, Collection

HIDDEN = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec")

_PR_SET_PDEATHSIG = 1
_PRCTL = getattr(ctypes.CDLL(None), "prctl", None)  # Linux has it


def find_program(*names: str, hidden: Collection[str] = HIDDEN) -> str | None:
    """Return the first program that is there, on the PATH or where distributions hide it from users."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *hidden])
    return next(filter(None, (shutil.which(name, path=path) for name in names)), None)


def dying_with_parent(end_signal: signal.Signals) -> Callable[[], None]:
    """Return what a new process runs to get a signal at the end of this one, however that ends."""
    parent = os.getpid()

    def die_with_parent() -> None:
        if _PRCTL:
            _PRCTL(_PR_SET_PDEATHSIG, int(end_signal))
        if os.getppid() != parent:
            os._exit(1)

    return die_with_parent
