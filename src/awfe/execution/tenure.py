"""The lock of a run for as long as the run lasts: lost, it is taken again, or the run is over."""

import asyncio
import random
import time
from collections.abc import Callable

from awfe.domain.moves import Head
from awfe.errors import AwfeError, LockLost, StoreUnavailable, WorkflowNotFound
from awfe.execution.crew import Crew
from awfe.persistence.locks import Held
from awfe.shielding import end

_PAUSE, _LEAST_PAUSE = 0.2, 0.02


class Tenure:
    """Holds a workflow's lock; calls `on_end` when another runner has taken it over."""

    def __init__(
        self, crew: Crew, name: str, held: Held, head: Callable[[], Head | None], on_end: Callable[[], None]
    ) -> None:
        """Watch a lock that was just taken; `head` is None as long as the claim is not known to be committed."""
        self._crew = crew
        self._name = name
        self._held = held
        self._head = head
        self._on_end = on_end
        self._regaining: asyncio.Task[None] | None = None
        self._last_error: Exception | None = None
        self._ended = False
        held.watch(self._lost)

    async def hold(self) -> None:
        """Return when the lock is held for certain; raises `LockLost` or `StoreUnavailable` when it can't be."""
        while self._regaining is not None:
            regaining = self._regaining
            await asyncio.shield(regaining)
            if self._regaining is regaining:
                self._regaining = None
                self._lost_again()

    async def end(self) -> None:
        """Give the lock back."""
        self._ended = True
        if self._regaining is not None:
            await end(self._regaining)
        await self._held.release()
        # They are the run's, which refers to this: the circle would be the collector's to find.
        del self._head, self._on_end

    def _lost(self) -> None:
        if self._ended or (self._regaining is not None and not self._regaining.done()):
            return
        self._crew.log.warning("the lock connection of %r is gone; locking again", self._name)
        self._regaining = asyncio.create_task(self._regain(), name=f"awfe regain {self._name}")
        self._regaining.add_done_callback(self._lost_again)

    def _lost_again(self, regaining: "asyncio.Task[None] | None" = None) -> None:
        """Begin anew when the connection was lost once more while the lock was taken again."""
        failed = regaining is not None and (regaining.cancelled() or regaining.exception() is not None)
        if self._held.is_lost and not failed:
            self._lost()

    async def _regain(self) -> None:
        try:
            await self._try_again(time.monotonic() + self._crew.settings.db_retry_for)
        except AwfeError:
            self._on_end()
            raise

    async def _try_again(self, deadline: float) -> None:
        # The server may hold the old session for a while, and somebody may have come and gone: the token decides.
        # Often enough that nobody sees the lock free in two looks, as soon as the server is back.
        pause = max(_LEAST_PAUSE, min(_PAUSE, self._crew.settings.takeover_delay / 4))
        while True:
            regained = False
            try:
                regained = await self._held.regain()
            except Exception as error:  # noqa: BLE001 - whatever it is, the lock is not held, and time is bounded
                self._last_error = error
            checked = await self._check_token()
            if regained and checked:
                return
            if time.monotonic() > deadline:
                msg = f"{self._name!r}: the lock could not be taken again for {self._crew.settings.db_retry_for:g} s"
                raise StoreUnavailable(msg) from self._last_error
            # With jitter: all that a shared connection held is taken again at the same time.
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret

    async def _check_token(self) -> bool:
        """Raise `LockLost` when the workflow is not ours any more; False when the database does not answer."""
        mine = self._head()
        if mine is None:
            # The claim itself sees what was there before it, and has a token of its own afterwards.
            return True
        try:
            now = await self._crew.reads.head(self._name)
        except StoreUnavailable:
            return False
        except WorkflowNotFound:
            now = None
        if now is None or (now.token, now.run_id) != (mine.token, mine.run_id):
            raise LockLost(self._name, f"{self._name!r} was taken over while its lock connection was gone")
        return True
