"""The moves that are ready at the same time are committed together, of whatever workflows of this engine.

There is no timer before a commit: a lone move goes at once, and what comes while it is being committed goes next, in
one transaction. A batch is only ever an attempt: whatever goes wrong with it, each of its moves is decided by itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from awfe.domain.delta import Delta
from awfe.domain.moves import Head, Move
from awfe.errors import LockLost
from awfe.persistence.batch import put_all
from awfe.persistence.session import Database, Work
from awfe.shielding import to_the_end, unseen

T = TypeVar("T")
# Of one move: the head after it, or who says that it is fenced, or nothing, where it must be decided by itself.
Answer = Head | LockLost | None
Settle = Callable[[AsyncSession, Move, str], Awaitable[Head]]

# So much fits into a statement of any server; what is larger would only keep the others waiting.
_MOST_ROWS: Final = 500
_MOST_BYTES: Final = 1 << 19
_HEAVY: Final = 1 << 16
# How long the connection is kept when nothing is to be written: steps that do little come again sooner.
_LINGER: Final = 0.02
# With fewer connections the others could need the one that is kept.
_ENOUGH: Final = 4
_END_LIMIT: Final = 10.0


@dataclass(slots=True, eq=False)
class _Submitted:
    move: Move
    uid: str
    weight: int
    answer: asyncio.Future[Answer]


class Writer:
    """Writes the moves of one engine; `settle` writes one, or finds out by a locking read what stands in its place."""

    def __init__(self, database: Database, settle: Settle) -> None:
        """Write to this database; nothing is held before the first move."""
        self._database = database
        self._settle = settle
        self._held = _Held(database)
        self._waiting: list[_Submitted] = []
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[None] | None = None

    async def write(self, move: Move, uid: str, retry_for: float | None) -> Head:
        """Write a move, waiting for the database as long as it may take; returns and raises as `settle` does.

        Who is cancelled takes nobody with him: what is being committed then may be committed, as ever.
        """
        weight = _weight(move)
        if weight <= _HEAVY:
            answer = await self._submitted(_Submitted(move, uid, weight, asyncio.get_running_loop().create_future()))
            if isinstance(answer, LockLost):
                raise answer
            if answer is not None:
                return answer
        return await self._database.write(lambda session: self._settle(session, move, uid), retry_for)

    def _submitted(self, each: _Submitted) -> asyncio.Future[Answer]:
        self._waiting.append(each)
        if self._task is None:
            self._task = unseen(self._serve())
        elif self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
        return each.answer

    async def close(self) -> None:
        """Give the connection back at once."""
        if self._task is not None:
            if self._idle is not None and not self._idle.done():
                self._idle.set_result(None)
            await asyncio.wait({self._task})

    async def _serve(self) -> None:
        """Commit batch after batch, until no move has come for a while."""
        batch: Sequence[_Submitted] = ()
        try:
            while self._waiting or await self._more_to_come():
                batch = self._next()
                for each, answer in zip(batch, await self._answers(batch), strict=True):
                    _tell(each, answer)
        except BaseException:
            await to_the_end(self._held.give_back())
            raise
        finally:
            self._task = None
            # Only who ends this task can have left any.
            for each in (*batch, *self._waiting):
                _tell(each, None)
            self._waiting.clear()

    async def _more_to_come(self) -> bool:
        loop = asyncio.get_running_loop()
        self._idle = loop.create_future()
        timer = loop.call_later(_LINGER, _wake, self._idle)
        try:
            await self._idle
        finally:
            timer.cancel()
            self._idle = None
        if not self._waiting:
            await self._held.give_back()
        return bool(self._waiting)

    def _next(self) -> Sequence[_Submitted]:
        """Take what is ready, in the order of the ids; of one workflow one move, as there is never more."""
        ready: dict[int, _Submitted] = {}
        left: list[_Submitted] = []
        weight = 0
        for each in self._waiting:
            if each.answer.done():
                continue
            fits = len(ready) < _MOST_ROWS and weight + each.weight <= _MOST_BYTES
            if left or not fits or each.move.before.id in ready:
                left.append(each)
            else:
                ready[each.move.before.id] = each
                weight += each.weight
        self._waiting = left
        return [ready[number] for number in sorted(ready)]

    async def _answers(self, batch: Sequence[_Submitted]) -> Sequence[Answer]:
        if not batch:
            return ()
        try:
            answers = await self._held.do(partial(self._all, batch)) if len(batch) > 1 else None
            # One of them is fenced: who, only a locking read tells.
            return answers or await self._held.do(partial(self._each, batch)) or ()
        except Exception as error:  # noqa: BLE001 - whatever it is, whose it is comes out when each is done by itself
            self._database.log.debug("%d moves are written one by one: %s", len(batch), error)
            return [None] * len(batch)

    async def _all(self, batch: Sequence[_Submitted], session: AsyncSession) -> Sequence[Answer] | None:
        stood = await put_all(session, self._database.kind, [(each.move, each.uid) for each in batch])
        return [each.move.after for each in batch] if stood else None

    async def _each(self, batch: Sequence[_Submitted], session: AsyncSession) -> Sequence[Answer]:
        answers: list[Answer] = []
        for each in batch:
            try:
                answers.append(await self._settle(session, each.move, each.uid))
            except LockLost as lost:
                answers.append(lost)
        return answers


class _Held:
    """A data connection that is kept from one transaction to the next; it takes its place among those in use."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keeps = database.settings.pool_size >= _ENOUGH
        self._has_place = False
        self._session: AsyncSession | None = None

    async def do(self, work: Work[T | None]) -> T | None:
        """Do a transaction, once; what returns None is undone. Raises `StoreUnavailable`."""
        if not self._has_place:
            await self._database.line.acquire()
            self._has_place = True
        try:
            return await self._database.retried(lambda: self._once(work), 0)
        finally:
            if self._session is None or not self._keeps:
                await self.give_back()

    async def _once(self, work: Work[T | None]) -> T | None:
        if self._session is None:
            connection = await self._database.engine.connect()
            self._session = AsyncSession(connection, expire_on_commit=False, autoflush=False)
        session = self._session
        try:
            result = await work(session)
            await (session.rollback() if result is None else session.commit())
        except BaseException:
            # A COMMIT that fails leaves its transaction open, or not: only the end of the connection is certain.
            self._session = None
            await to_the_end(_given_up(session))
            raise
        return result

    async def give_back(self) -> None:
        """Give the connection back, and its place."""
        session, self._session = self._session, None
        try:
            if session is not None:
                await to_the_end(_connection_of(session).close())
        finally:
            if self._has_place:
                self._has_place = False
                self._database.line.release()


def _connection_of(session: AsyncSession) -> AsyncConnection:
    assert isinstance(session.bind, AsyncConnection)  # noqa: S101 - it was made with one
    return session.bind


async def _given_up(session: AsyncSession) -> None:
    connection = _connection_of(session)
    with suppress(TimeoutError):
        async with asyncio.timeout(_END_LIMIT):
            await connection.invalidate()
    # It would connect again else, for whoever still has it.
    await connection.close()


def _weight(move: Move) -> int:
    """Return how many bytes of its step's making a move carries, about."""
    weight = 0
    if move.ended is not None:
        error = move.ended.error
        weight += _size(move.ended.delta) + len(move.ended.output)
        weight += 0 if error is None else len(error.message) + len(error.traceback)
    if move.noted is not None:
        weight += _size(move.noted.delta) + len(move.noted.output or "")
    return weight


def _size(delta: Delta) -> int:
    return sum(len(key) + len(bytes(raw)) for key, raw in delta.set.items()) + sum(map(len, delta.unset))


def _wake(idle: asyncio.Future[None]) -> None:
    if not idle.done():
        idle.set_result(None)


def _tell(each: _Submitted, answer: Answer) -> None:
    if not each.answer.done():
        each.answer.set_result(answer)
