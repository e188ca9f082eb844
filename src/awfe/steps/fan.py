"""Something is done for many items: so many at once, until too many have failed."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from awfe.errors import LockLost, StoreUnavailable
from awfe.steps.failed import Failed
from awfe.steps.progress import Progress

_NAMED = 20


class Fan:
    """Does something for items, by their labels; each result is saved before the next item of its place begins.

    `failed` has the errors of those that failed. When there are more than `allowed` no further one begins, and those
    that have begun go on to their end: cutting them off would leave more unknown than it spares.
    """

    def __init__(self, progress: Progress, limit: int, allowed: int) -> None:
        """Do nothing yet; at most `limit` will be done at once."""
        self._progress = progress
        self._limit = limit
        self._allowed = allowed
        self.failed: dict[str, Exception] = {}

    @property
    def is_over(self) -> bool:
        """Whether too many have failed."""
        return len(self.failed) > self._allowed

    async def run(self, labels: Sequence[str], act: Callable[[str], Awaitable[Any]]) -> None:
        """Do those that are not done; returns when none is running any more."""
        waiting = [label for label in labels if label not in self._progress]
        queue = iter(waiting)

        async def work() -> None:
            while not self.is_over and (label := next(queue, None)) is not None:
                await self._do(label, act)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._limit, len(waiting))):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _do(self, label: str, act: Callable[[str], Awaitable[Any]]) -> None:
        try:
            result = await act(label)
        except (LockLost, StoreUnavailable):
            raise
        except Exception as error:  # noqa: BLE001 - an item's failure, which is counted
            self.failed[label] = error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Raised by the item and asked for by nobody: a task group would take it for an end in order.
            self.failed[label] = Failed(f"cancelled from within: {error!r}")
        else:
            await self._progress.add(label, result)

    def refuse(self, what: str, labels: Sequence[str], max_failures: object) -> None:
        """Raise what names the failed items, when there are too many."""
        if not self.is_over:
            return
        named = [f"{label}: {summary(error)}".partition("\n")[0] for label, error in self.failed.items()]
        left = sum(label not in self._progress and label not in self.failed for label in labels)
        msg = (
            f"{len(self.failed)} of {len(labels)} {what} failed, with max_failures={max_failures}, {left} not begun: "
            f"{'; '.join(named[:_NAMED])}{' …' * (len(named) > _NAMED)}"
        )
        raise ExceptionGroup(msg, list(self.failed.values()))


def summary(error: BaseException) -> str:
    """Return an error as a text: its type and message, or that alone where it says it all."""
    text = str(error)
    return text if isinstance(error, Failed) else f"{type(error).__name__}: {text}".removesuffix(": ")
