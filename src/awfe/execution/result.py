"""What a run in the background came to: for whoever awaits it, else for the log."""

import asyncio
from collections.abc import Callable

from awfe.domain.services import Log
from awfe.errors import WorkflowHalted, WorkflowStopped


class Result:
    """Set once, when the workflow rests; `future` has None, or what `Engine.run` raises.

    `awaited` tells whether somebody gets to see an error, `quiet` which ones nobody needs to.
    """

    # Many thousands may be awaited, of workflows that wait.
    __slots__ = ("_handle", "_log", "awaited", "future", "name", "quiet")

    def __init__(self, name: str, log: Log) -> None:
        """Expect the result of a run of this workflow."""
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.awaited = False
        self.quiet: tuple[type[Exception], ...] = ()
        self._handle: Callable[[], object] | None = None
        self.name = name
        self._log = log

    def keep_for(self, handle: Callable[[], object]) -> None:
        """Leave an error to the handle, for as long as `handle` returns it."""
        self._handle = handle

    def set(self, error: BaseException | None) -> None:
        """Tell that the workflow rests; only the first time counts."""
        if self.future.done():
            return
        if error is None:
            self.future.set_result(None)
            return
        if isinstance(error, asyncio.CancelledError):
            error = WorkflowStopped(self.name, f"{self.name!r}: the run was cancelled before it began")
        self.future.set_exception(error)
        # Looked at, so that asyncio does not call it forgotten.
        self.future.exception()
        if not isinstance(error, self.quiet) and (self._handle is None or self._handle() is None):
            self.tell_unawaited()

    def tell_unawaited(self) -> None:
        """Log an error that nobody awaited, and can't await any more."""
        if self.awaited or not self.future.done() or (error := self.future.exception()) is None:
            return
        self.awaited = True
        if isinstance(error, WorkflowHalted):
            self._log.info("%s", error)
        else:
            self._log.error("%s", error, exc_info=error)
