"""What is asked at the same time is done together; a lone question does not wait for company.

There is no timer: the first goes at once, and what comes while it is being done goes next. Doing it together is only
ever an attempt: whatever goes wrong with it, each of those who asked does it by himself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from awfe.shielding import outlast, unseen

Q = TypeVar("Q")
A = TypeVar("A")
# So much fits into a statement of any server.
MOST: Final = 500
_MOST_BYTES: Final = 1 << 19


@dataclass(slots=True, eq=False)
class _Asked(Generic[Q, A]):
    """A question, and who waits for its answer: with a future of his own, which is cancelled when he is."""

    key: int | str
    question: Q
    weight: int
    stays: bool
    answer: A | None = None
    is_told: bool = False
    waiter: asyncio.Future[None] | None = None

    @property
    def is_given_up(self) -> bool:
        """Whether who waited was cancelled: his future is at once, and he himself only gets to know it in his turn."""
        return not self.stays and self.waiter is not None and self.waiter.cancelled()

    def tell(self, answer: A | None) -> None:
        """Answer it."""
        self.answer, self.is_told = answer, True
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def told(self) -> None:
        """Return when it is answered."""
        while not self.is_told:
            self.waiter = asyncio.get_running_loop().create_future()
            await self.waiter


class Gathering(Generic[Q, A]):
    """Does together what is asked about different workflows, in the order of their keys, at most so many at once.

    `do` is called with the questions, once for each batch, and returns as many answers; `log` hears where it failed.
    """

    def __init__(self, do: Callable[[Sequence[Q]], Awaitable[Sequence[A | None]]], log: Any, most: int = MOST) -> None:
        """Nothing is asked yet."""
        self._most = most
        self._do = do
        self._log = log
        self._waiting: list[_Asked[Q, A]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(
        self, key: int | str, question: Q, weight: int = 0, on_cancel: Callable[[], None] | None = None
    ) -> A | None:
        """Return the answer; None: it must be asked alone. `weight`: how many bytes it carries, about.

        Who is cancelled takes nobody with him: what is being done then is done, as ever. With `on_cancel` he waits for
        the answer all the same, and each cancellation is told there.
        """
        asked: _Asked[Q, A] = _Asked(key, question, weight, stays=on_cancel is not None)
        self._waiting.append(asked)
        if self._task is None:
            # A loop whose tasks begin at once may have served it already.
            task = unseen(self._serve())
            self._task = None if task.done() else task
        try:
            await asked.told()
        except asyncio.CancelledError:
            if on_cancel is None:
                raise
            on_cancel()
            await outlast(asked.told, on_cancel)
        return asked.answer

    async def close(self) -> None:
        """Return when nothing is being done; nobody asks any more."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _serve(self) -> None:
        batch: Sequence[_Asked[Q, A]] = ()
        try:
            while batch := self._next():
                for each, answer in zip(batch, await self._answers(batch), strict=True):
                    each.tell(answer)
        finally:
            self._task = None
            # There are any only where this task was ended.
            for each in (*batch, *self._waiting):
                each.tell(None)
            self._waiting.clear()

    def _next(self) -> Sequence[_Asked[Q, A]]:
        """Take what is ready: one of each workflow, since its moves follow one another."""
        ready: dict[Any, _Asked[Q, A]] = {}
        left: list[_Asked[Q, A]] = []
        weight = 0
        for each in self._waiting:
            if each.is_given_up:
                continue
            weight += each.weight
            if left or each.key in ready or len(ready) == self._most or (ready and weight > _MOST_BYTES):
                left.append(each)
            else:
                ready[each.key] = each
        self._waiting = left
        return [ready[key] for key in sorted(ready)]

    async def _answers(self, batch: Sequence[_Asked[Q, A]]) -> Sequence[A | None]:
        try:
            return await self._do([each.question for each in batch])
        except Exception as error:  # noqa: BLE001 - whose it is comes out when each does it by himself
            self._log.debug("%d are done one by one: %s", len(batch), error)
            return [None] * len(batch)
