"""What is asked at the same time is done together; a lone question does not wait for company.

There is no timer: the first goes at once, and what comes while it is being done goes next. Doing it together is only
ever an attempt: whatever goes wrong with it, each of those who asked does it by himself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from awfe.shielding import unseen

Q = TypeVar("Q")
A = TypeVar("A")
# So much fits into a statement of any server.
MOST: Final = 500
_MOST_BYTES: Final = 1 << 19


@dataclass(slots=True, eq=False)
class _Asked(Generic[Q, A]):
    key: int | str
    question: Q
    weight: int
    answer: asyncio.Future[A | None]


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

    def ask(self, key: int | str, question: Q, weight: int = 0) -> asyncio.Future[A | None]:
        """Return what becomes the answer; None: it must be asked alone. `weight`: how many bytes it carries, about.

        Who cancels it takes nobody with him: what is being done then is done, as ever.
        """
        answer: asyncio.Future[A | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Asked(key, question, weight, answer))
        if self._task is None:
            # A loop whose tasks begin at once may have served it already.
            task = unseen(self._serve())
            self._task = None if task.done() else task
        return answer

    async def close(self) -> None:
        """Return when nothing is being done; nobody asks any more."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _serve(self) -> None:
        batch: Sequence[_Asked[Q, A]] = ()
        try:
            while batch := self._next():
                for each, answer in zip(batch, await self._answers(batch), strict=True):
                    _tell(each, answer)
        finally:
            self._task = None
            # There are any only where this task was ended.
            for each in (*batch, *self._waiting):
                _tell(each, None)
            self._waiting.clear()

    def _next(self) -> Sequence[_Asked[Q, A]]:
        """Take what is ready: one of each workflow, since its moves follow one another."""
        ready: dict[Any, _Asked[Q, A]] = {}
        left: list[_Asked[Q, A]] = []
        weight = 0
        for each in self._waiting:
            if each.answer.done():
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


def _tell(each: _Asked[Any, A], answer: A | None) -> None:
    if not each.answer.done():
        each.answer.set_result(answer)
