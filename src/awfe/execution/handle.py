"""What `start` returns: a run in the background that may be awaited, paused and stopped."""

import weakref
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from awfe.domain.records import Workflow
from awfe.execution.result import Result


class Handle:
    """A workflow that runs in the background: `await handle` gives and raises what `run` would.

    Cancelling that await only stops waiting; many may await. An error that nobody awaited is logged once.
    """

    def __init__(
        self,
        name: str,
        result: Result | None,
        follow: Callable[[Result | None], Awaitable[Workflow]],
        pause: Callable[..., Awaitable[None]],
        stop: Callable[..., Awaitable[None]],
    ) -> None:
        """Stand for what a run comes to; None when the workflow was completed already."""
        self.name = name
        self._outcome = result
        self._follow = follow
        self._pause = pause
        self._stop = stop
        if result is not None:
            result.keep_for(weakref.ref(self))
            weakref.finalize(self, result.tell_unawaited).atexit = False

    def __await__(self) -> Generator[Any, Any, Workflow]:
        """Wait until the workflow rests."""
        return self._result().__await__()

    async def pause(self, *, actor: str | None = None, reason: str | None = None) -> None:
        """Ask to pause after the current step."""
        await self._pause(self.name, actor=actor, reason=reason)

    async def stop(self, grace: float | None = None, *, actor: str | None = None, reason: str | None = None) -> None:
        """Ask to stop now."""
        await self._stop(self.name, grace, actor=actor, reason=reason)

    def done(self) -> bool:
        """Tell whether the workflow rests."""
        return self._outcome is None or self._outcome.future.done()

    async def _result(self) -> Workflow:
        if self._outcome is not None:
            self._outcome.awaited = True
        return await self._follow(self._outcome)
