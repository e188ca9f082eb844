"""The moves of one engine: those that are ready at the same time are committed together, of whatever workflows."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from awfe.domain.delta import Delta
from awfe.domain.moves import Head, Move
from awfe.errors import LockLost, StoreUnavailable
from awfe.persistence import codec, faults
from awfe.persistence.batch import is_one_request, put, put_all, put_at_once
from awfe.persistence.gathering import Gathering
from awfe.persistence.lookup import LOCKED_BY_ID, fetched
from awfe.persistence.session import Database
from awfe.shielding import surely

# What is larger would only keep the others waiting.
_HEAVY: Final = 1 << 16
# The unique id of its line goes with a move, so that it can be looked for.
Submitted = tuple[Move, str]


class Writer:
    """Writes to one database; nothing is held between moves."""

    def __init__(self, database: Database) -> None:
        """Write to this database."""
        self._database = database
        self._gathering: Gathering[Submitted, Head | LockLost] = Gathering(self._together, database.log)

    async def write(
        self, move: Move, uid: str, retry_for: float | None = None, on_cancel: Callable[[], None] | None = None
    ) -> Head:
        """Write a move, waiting for the database as long as it may take; returns and raises as `Writes.apply`."""
        weight = _weight(move)
        if weight <= _HEAVY:
            # What is written together is not its runner's to cut off: it needs no task of its own.
            answer = await self._gathering.ask(move.before.id, (move, uid), weight, on_cancel)
            if isinstance(answer, LockLost):
                raise answer
            if answer is not None:
                return answer
        alone = partial(self._database.write, partial(_settled, move, uid), retry_for)
        return await (alone() if on_cancel is None else surely(alone, on_cancel))

    async def close(self) -> None:
        """Return when nothing is on its way any more."""
        await self._gathering.close()

    async def _together(self, batch: Sequence[Submitted]) -> Sequence[Head | LockLost]:
        if len(batch) > 1 or not self._database.takes_requests or not is_one_request(batch[0][0]):
            return await self._transaction(batch)
        move, uid = batch[0]
        try:
            done = await self._database.request(partial(put_at_once, move=move, uid=uid), 0)
        except StoreUnavailable as refused:
            if refused.__cause__ is None or faults.is_transient(refused.__cause__):
                raise
            answers = await self._transaction(batch)
            # So it is not the move that is refused, but how it was sent.
            self._database.takes_requests = False
            self._database.log.warning(
                "%s, which does not take several statements as one request: it is slower", refused
            )
            return answers
        # Where it is fenced, only a locking read tells by whom.
        return [move.after] if done else await self._transaction(batch)

    async def _transaction(self, batch: Sequence[Submitted]) -> Sequence[Head | LockLost]:
        return await self._database.write(partial(self._put, batch), 0, unseen=True)

    async def _put(self, batch: Sequence[Submitted], connection: AsyncConnection) -> Sequence[Head | LockLost]:
        if len(batch) > 1:
            if await put_all(connection, batch):
                return [move.after for move, _ in batch]
            # One of them is fenced: which, only a locking read tells.
            await connection.rollback()
        return [await _told(move, uid, connection) for move, uid in batch]


async def _told(move: Move, uid: str, connection: AsyncConnection) -> Head | LockLost:
    try:
        return await _settled(move, uid, connection)
    except LockLost as lost:
        return lost


async def _settled(move: Move, uid: str, connection: AsyncConnection) -> Head:
    return move.after if await put(connection, move, uid) else await standing(connection, move)


async def standing(connection: AsyncConnection, move: Move) -> Head:
    """Return the head that a move which changed nothing has found; raises `LockLost` when it is another runner's."""
    rows = await fetched(connection, move.before.name, LOCKED_BY_ID, {"id": move.before.id})
    head = codec.head_of(rows[0]) if rows else None
    if head is not None and _same_run(head, move.after) and head.rev == move.after.rev:
        return move.after
    if head is not None and _same_run(head, move.before) and head.rev == move.before.rev:
        return head
    name = move.before.name
    raise LockLost(name, f"{name!r} was taken over: nothing more is written by this runner")


def _same_run(head: Head, other: Head) -> bool:
    return head.token == other.token and head.run_id == other.run_id


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
