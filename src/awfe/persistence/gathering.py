"""What is asked for at the same time is asked for at once; a lone question does not wait for others."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Generic, TypeVar

from awfe.shielding import unseen

K = TypeVar("K")
V = TypeVar("V")
_MOST: Final = 256


class Gathering(Generic[K, V]):
    """Asks for the values of many keys; while it waits for an answer, the next question gathers.

    `ask` gets different keys, and for how long it may try. First it may not try again: where that fails, each asks by
    himself, as long as he may wait.
    """

    def __init__(self, ask: Callable[[Sequence[K], float | None], Awaitable[Mapping[K, V]]]) -> None:
        """Ask nothing yet."""
        self._ask = ask
        self._waiting: list[tuple[K, asyncio.Future[Mapping[K, V] | None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V | None:
        """Return the value of a key, None where there is none; raises what `ask` does."""
        answer: asyncio.Future[Mapping[K, V] | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, answer))
        if self._task is None:
            self._task = unseen(self._serve())
        values = await answer
        if values is None:
            values = await self._ask([key], None)
        return values.get(key)

    async def _serve(self) -> None:
        batch = self._waiting
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                values = await self._values(list(dict.fromkeys(key for key, _ in batch)))
                for _, answer in batch:
                    _tell(answer, values)
        finally:
            self._task = None
            # Only who ends this task can have left any.
            for _, answer in (*batch, *self._waiting):
                _tell(answer, None)
            self._waiting = []

    async def _values(self, keys: Sequence[K]) -> Mapping[K, V] | None:
        try:
            return await self._ask(keys, 0)
        except Exception:  # noqa: BLE001 - whatever it is, whose it is comes out when each is asked for by itself
            return None


def _tell(answer: "asyncio.Future[Mapping[K, V] | None]", values: Mapping[K, V] | None) -> None:
    if not answer.done():
        answer.set_result(values)
