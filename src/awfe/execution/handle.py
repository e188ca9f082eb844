"""What `start` returns: a run in the background that may be awaited, paused and stopped."""

import sys
import weakref
from collections.abc import Awaitable, Callable, Generator
from typing import Any, NamedTuple

from awfe.domain.records import Workflow
from awfe.execution.result import Result


class Verbs(NamedTuple):
    """What the handles of one engine share: what it does for them."""

    follow: Callable[[str, Result | None], Awaitable[Workflow]]
    pause: Callable[..., Awaitable[None]]
    stop: Callable[..., Awaitable[None]]


class Handle:
    """A workflow that runs in the background: `await handle` gives and raises what `run` would.

    Cancelling that await only stops waiting; many may await. An error that nobody awaited is logged once.
    """

    # Many thousands may be kept, of workflows that wait.
    __slots__ = ("__weakref__", "_outcome", "_verbs", "name")

    def __init__(self, name: str, result: Result | None, verbs: Verbs) -> None:
        """Stand for what a run comes to; None when the workflow was completed already."""
        # The one that is kept anyway; the caller's is a string of its own.
        self.name = name if result is None else result.name
        self._outcome = result
        self._verbs = verbs
        if result is not None:
            result.keep_for(weakref.ref(self))

    def __del__(self) -> None:
        """Leave an error that nobody awaited to the log; a program that ends has said enough."""
        outcome: Result | None = getattr(self, "_outcome", None)
        if outcome is not None and not sys.is_finalizing():
            outcome.tell_unawaited()

    def __await__(self) -> Generator[Any, Any, Workflow]:
        """Wait until the workflow rests."""
        return self._result().__await__()

    async def pause(self, *, actor: str | None = None, reason: str | None = None) -> None:
        """Ask to pause after the current step."""
        await self._verbs.pause(self.name, actor=actor, reason=reason)

    async def stop(self, grace: float | None = None, *, actor: str | None = None, reason: str | None = None) -> None:
        """Ask to stop now."""
        await self._verbs.stop(self.name, grace, actor=actor, reason=reason)

    def done(self) -> bool:
        """Tell whether the workflow rests."""
        return self._outcome is None or self._outcome.future.done()

    async def _result(self) -> Workflow:
        if self._outcome is not None:
            self._outcome.awaited = True
        return await self._verbs.follow(self.name, self._outcome)
