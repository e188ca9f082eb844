"""The transaction that a step's code writes in, and that is committed with the move which ends its attempt."""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NoReturn, TypeVar

from sqlalchemy import event, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, AsyncTransaction
from sqlalchemy.orm import Session

from awfe.domain.moves import Head, Move
from awfe.errors import InvalidInput, StoreUnavailable
from awfe.persistence import faults
from awfe.persistence.batch import put
from awfe.persistence.session import Database, Work
from awfe.persistence.writer import standing
from awfe.persistence.writes import Writes
from awfe.shielding import to_the_end

T = TypeVar("T")
# What ends the transaction takes its savepoints with it, in whatever way it was ended.
_MARK: Final = text("SAVEPOINT awfe_step")
_SEE_MARK: Final = text("RELEASE SAVEPOINT awfe_step")
_SEE_CONSTRAINTS: Final = text("SET CONSTRAINTS ALL IMMEDIATE")
_ENDED: Final = (
    "the step's code has ended its transaction, by COMMIT or ROLLBACK, or by a statement that does so, as CREATE TABLE "
    "does on MySQL; what it did before that may be stored, and perhaps what it did after: look before you go on"
)
_SWALLOWED: Final = (
    "a statement of the step has failed, its error was swallowed, and the transaction was lost with it; put what may "
    "fail into 'async with session.begin_nested()'"
)
_END_LIMIT: Final = 10.0
_ERRORS: Final = "awfe_errors"


class Undone(Exception):
    """A step's transaction was not committed, for a reason that may pass, or it is not known whether it was."""


class Refused(Exception):
    """What a step wrote was refused in the COMMIT: nothing of it is stored, and the cause is the step's own error."""

    def __init__(self, error: Exception) -> None:
        """Keep the error."""
        super().__init__(error)
        self.error = error


def transactions(database: Database, writes: Writes) -> Callable[[], "Transaction"]:
    """Return what makes the transactions of one engine's steps: at most half of its connections are theirs at once."""
    # On SQLite only one can write; the others wait better in line than for the file.
    slots = asyncio.Semaphore(1 if database.kind == "sqlite" else database.settings.pool_size // 2)
    return lambda: Transaction(database, writes, slots)


class Transaction:
    """One transaction of the data database; `session` is for the step's code, and can't end it."""

    def __init__(self, database: Database, writes: Writes, slots: asyncio.Semaphore) -> None:
        """Prepare it; nothing is connected, and no slot is taken."""
        self.session: AsyncSession
        self._database = database
        self._writes = writes
        self._slots = slots
        self._has_slot = False
        self._connection: AsyncConnection | None = None
        self._begun: AsyncTransaction
        self._errors: list[BaseException] = []
        self._is_over = False
        self._is_ours = False
        self._is_sound = False

    async def begin(self) -> None:
        """Wait for a slot and for the database, and begin; raises `StoreUnavailable`."""
        await self._slots.acquire()
        self._has_slot = True
        try:
            await self._database.retried(self._begin, self._database.settings.db_retry_for)
        except BaseException:
            await to_the_end(self.end())
            raise

    async def _begin(self) -> None:
        engine = self._database.engine
        if not event.contains(engine.sync_engine, "handle_error", _note):
            event.listen(engine.sync_engine, "handle_error", _note)
        connection = await engine.connect()
        try:
            await connection.execution_options(**{_ERRORS: self._errors})
            self._begun = await connection.begin()
            await connection.execute(_MARK)
            self._check_begun()
        except BaseException:
            await to_the_end(_given_up(connection))
            raise
        event.listen(connection.sync_connection, "commit", self._check_commit)
        if self._database.kind != "mysql":
            # MySQL begins the next by itself. Here what follows the end would be stored at once.
            event.listen(connection.sync_connection, "before_cursor_execute", _check_inside)
        self._errors.clear()
        self._connection = connection
        self.session = AsyncSession(
            connection, sync_session_class=_StepSession, join_transaction_mode="rollback_only", expire_on_commit=False
        )

    def _check_begun(self) -> None:
        if self._is_over:
            msg = "it began when the attempt was over"
            raise Undone(msg)

    def _check_commit(self, _connection: object) -> None:
        if not self._is_ours:
            _refuse("commit")

    async def settle(self) -> None:
        """Send what the session still holds, and see that the transaction is the one that was begun.

        What it raises is the step's own error.
        """
        await self.session.flush()
        if not self._begun.is_active and (self._connection is None or not self._connection.invalidated):
            raise InvalidInput(_ENDED)
        try:
            await self._database.retried(self._look, 0)
        except StoreUnavailable as refused:
            error, swallowed = refused.__cause__, self._errors[0] if self._errors else None
            if isinstance(error, IntegrityError):
                raise error from None
            for each in (swallowed, error):
                if isinstance(each, Exception) and faults.is_transient(each):
                    self._errors.append(each)
                    raise each from None
            raise InvalidInput(_ENDED if swallowed is error else _SWALLOWED) from swallowed
        self._is_sound = True

    async def _look(self) -> None:
        """Do statements that fail in a transaction that is another, or in which something has failed."""
        assert self._connection is not None  # noqa: S101 - it was begun, and is ended after the step's code
        if self._database.kind == "postgresql":
            # What is deferred would fail in the COMMIT, where nobody could tell whose error it is.
            await self._connection.execute(_SEE_CONSTRAINTS)
        await self._connection.execute(_SEE_MARK)

    def was_broken_by(self, error: Exception) -> bool:
        """Tell whether what a step raised came of its transaction and may pass; else the transaction is still sound."""
        passing = [each for each in self._errors if faults.is_transient(each)]
        self._is_sound = not self._errors
        if passing and (self._connection is None or self._connection.invalidated):
            return True
        cause: BaseException | None = error
        while cause is not None:
            if any(cause is each for each in passing):
                return True
            cause = cause.__cause__
        return False

    async def apply(self, move: Move, retry_for: float) -> Head:
        """Apply a runner's move as the last of the transaction, and commit both.

        Returns and raises as `Writes.apply` does; where a request turned up the transaction is still open. Raises
        `Undone` when it was not committed, for a reason that may pass, `Refused` for a constraint of the step's own.
        """
        uid = secrets.token_hex(16)

        async def conclude(connection: AsyncConnection) -> Head:
            if not await put(connection, move, uid):
                return await standing(connection, move)
            await self._commit()
            return move.after

        async def look(connection: AsyncConnection) -> Head:
            return await standing(connection, move)

        try:
            head = await self._last(conclude)
        except Undone:
            # Also when the COMMIT was sent and its answer is lost: whether it has happened, only a locking read tells.
            head = await self._database.write(look, retry_for)
            if head.rev != move.after.rev:
                raise
        return self._writes.applied(move, head)

    async def _commit(self) -> None:
        assert self._connection is not None  # noqa: S101 - its statements were just done
        self._is_ours = True
        try:
            await self._connection.commit()
        except IntegrityError as error:
            # One that was deferred: SQLite can't be asked for it before.
            raise Refused(error) from error

    async def _last(self, work: Work[T]) -> T:
        """Do the engine's part, once; raises `Undone` when it failed, and the transaction with it, or nobody knows."""
        connection = self._connection
        if connection is None or not self._is_sound:
            # It was cut off in the middle of this: what it has put would be taken for committed.
            await to_the_end(self.end())
            msg = "its transaction is over"
            raise Undone(msg)
        self._is_sound = False
        try:
            result = await self._database.retried(lambda: work(connection), 0)
        except StoreUnavailable as error:
            # Who looks whether it was committed must not wait for what it has locked.
            await to_the_end(self.end())
            if error.__cause__ is None or not faults.is_transient(error.__cause__):
                raise
            raise Undone(str(error)) from error.__cause__
        self._is_sound = True
        return result

    async def end(self) -> None:
        """Undo what is not committed, and give the connection back; the session is good for nothing afterwards."""
        self._is_over = True
        connection, self._connection = self._connection, None
        try:
            if connection is not None and self._is_sound and (self._is_ours or self._begun.is_active):
                await self._returned(connection)
            elif connection is not None:
                await _given_up(connection)
        finally:
            if self._has_slot:
                self._has_slot = False
                self._slots.release()

    async def _returned(self, connection: AsyncConnection) -> None:
        try:
            async with asyncio.timeout(_END_LIMIT):
                # By itself: `close()` would give back to the pool also what could not be rolled back.
                if self._begun.is_active:
                    await self._begun.rollback()
        except Exception:  # noqa: BLE001 - whatever it is, what was not committed is not, once the connection is gone
            await _given_up(connection)
        else:
            await connection.close()


class _StepSession(Session):
    """A session in a transaction that is not its own to end."""

    def commit(self) -> NoReturn:
        _refuse("commit")

    def rollback(self) -> NoReturn:
        _refuse("rollback")

    def close(self) -> NoReturn:
        _refuse("close")

    def reset(self) -> NoReturn:
        _refuse("reset")

    def invalidate(self) -> NoReturn:
        _refuse("invalidate")


def _refuse(what: str) -> NoReturn:
    msg = (
        f"session.{what}(): the engine ends this transaction, when the step's code has ended: it commits when that "
        "returns, and undoes all when that raises; to undo a part, use 'async with session.begin_nested()'"
    )
    raise InvalidInput(msg)


def _check_inside(connection: Any, *_about: object) -> None:
    driver = connection.connection.driver_connection
    inside: bool = driver.in_transaction if hasattr(driver, "in_transaction") else driver.is_in_transaction()
    if not inside:
        raise InvalidInput(_ENDED)


def _note(context: ExceptionContext) -> None:
    """Note the errors of a step's transaction; others pass."""
    options: Any = {} if context.connection is None else context.connection.get_execution_options()
    errors = options.get(_ERRORS)
    if errors is not None:
        errors.append(context.sqlalchemy_exception or context.original_exception)


async def _given_up(connection: AsyncConnection) -> None:
    """End a connection of which it is not certain what it is in the middle of."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_END_LIMIT):
            await connection.invalidate()
    # It would connect again else, for whoever still has it.
    await connection.close()
