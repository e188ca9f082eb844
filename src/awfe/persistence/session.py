"""Connections and transactions: engines of awfe's own, their session settings, transactions done again."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import Any, Final, Literal, TypeVar

from sqlalchemy import event
from sqlalchemy.engine import URL, Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from awfe import urls
from awfe.errors import AwfeError, ConfigError, StoreUnavailable
from awfe.persistence import faults, opening, schema
from awfe.persistence.closing import SQLiteConnection, close_for_certain, committed, connect_sqlite, cut, given_back
from awfe.persistence.greeting import begin, prepared
from awfe.persistence.joining import join_statements
from awfe.settings import Settings
from awfe.shielding import cut_once, to_the_end

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[T]]
Kind = Literal["sqlite", "mysql", "postgresql"]

# A transaction that hangs longer than this is given up and done again: its connection leads nowhere.
_TRANSACTION_LIMIT: Final = 60.0
_LEAST_LIMIT: Final = 15.0
_CONNECT_LIMIT: Final = 10
_GIVEN_BACK: Final = 0.002
# Of a message and a traceback, with what is short beside them.
_MOST_OF_ERROR: Final = 1 << 17
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0

_CONNECT_ARGS: Final[Mapping[str, dict[str, Any]]] = {
    "mysql": {"connect_timeout": _CONNECT_LIMIT, "charset": "utf8mb4"},
    "postgresql": {"timeout": _CONNECT_LIMIT},
    "sqlite": {"factory": SQLiteConnection, "async_creator_fn": connect_sqlite},
}


class Database:
    """One database as one engine sees it: pools of its own, and transactions that are done again when that may help.

    `on_engine` is called with each engine that is made, before it connects: for those who watch statements.
    A caller's `AsyncEngine` is only read: awfe takes pools of its own with the same creator, arguments and listeners.
    """

    def __init__(self, db: str | URL | Mapping[str, Any] | AsyncEngine, settings: Settings, log: Any) -> None:
        """Check what was given; nothing is connected yet."""
        self._given = db if isinstance(db, AsyncEngine) else None
        self.url = urls.check(db.url) if isinstance(db, AsyncEngine) else urls.resolve(db)
        self.settings = settings
        self.log = log
        self.kind: Kind = self.url.get_backend_name()  # type: ignore[assignment]  # urls.check leaves only these
        self.instance = ""
        self.max_context_bytes = settings.max_context_bytes
        # What a caller's engine connects to, and how, only he knows.
        self.takes_requests = self._given is None
        self.on_engine: list[Callable[[AsyncEngine], None]] = []
        self._engine: AsyncEngine | None = None

    def __str__(self) -> str:
        """Name the database, without its password."""
        return urls.shown(self.url)

    def make_engine(self, size: int, **options: Any) -> AsyncEngine:
        """Return an engine with a pool of this size; the caller disposes of it."""
        arguments: dict[str, Any] = {
            "pool_size": size,
            "max_overflow": 0,
            # The transactions here end by themselves, so a connection has nothing to roll back when it is returned.
            "pool_reset_on_return": None,
            "hide_parameters": True,
            **options,
        }
        made = self._connecting(arguments)
        if self.kind == "mysql":
            close_for_certain(made.sync_engine.dialect)
        join_statements(made.sync_engine.dialect)
        for each in self.on_engine:
            each(made)
        return made

    def _connecting(self, arguments: dict[str, Any]) -> AsyncEngine:
        if self._given is None:
            for_driver = _CONNECT_ARGS[self.kind] | urls.encryption(self.url)
            return create_async_engine(self.url, connect_args=for_driver, **arguments)
        given = self._given.sync_engine.pool
        made = create_async_engine(self.url, creator=lambda: given._invoke_creator(None), **arguments)  # type: ignore[arg-type]  # noqa: SLF001 - SQLAlchemy has no public way to share a creator
        made.sync_engine.pool.dispatch._update(given.dispatch, only_propagate=False)  # noqa: SLF001 - nor to share listeners
        return made

    def connect(self, size: int) -> None:
        """Take a pool of so many data connections; nothing is connected before the first is needed."""
        isolation = {} if self.kind == "sqlite" else {"isolation_level": "READ COMMITTED"}
        engine = self.make_engine(size, **isolation)
        self._engine = engine
        event.listen(engine.sync_engine, "connect", prepared(self.kind))
        if self.kind == "sqlite":
            event.listen(engine.sync_engine, "begin", begin)
        self._reading = engine.execution_options(awfe_reads=True)
        self._line = asyncio.Semaphore(size)

    async def open(self) -> None:
        """Connect, wait for a database that is not up yet, and create the tables when there are none."""
        self.connect(self.settings.pool_size)
        try:
            found = await self.retried(
                partial(opening.prepare, self.engine, self.kind), self.settings.connect_retry_for
            )
            self._heed(found)
        except TypeError as error:
            await self.close()
            raise self._misread(error) from error
        except BaseException:
            await self.close()
            raise

    @asynccontextmanager
    async def briefly(self, size: int) -> AsyncIterator[None]:
        """Have a pool of so many data connections for as long as this lasts."""
        self.connect(size)
        try:
            yield
        except TypeError as error:
            raise self._misread(error) from error
        finally:
            await self.close()

    def _misread(self, error: TypeError) -> ConfigError:
        return ConfigError(f"{self}: the URL has an argument that the driver does not take: {error}")

    def _heed(self, found: opening.Found) -> None:
        schema.check_version(found.version)
        self.instance = found.instance
        # One connection is the bell's.
        wanted = self.settings.pool_size + 1 + self.settings.lock_connections
        if wanted > found.connections:
            warning = "these settings may need %d connections, but the server takes %d: %s"
            self.log.warning(warning, wanted, found.connections, "raise its max_connections, or take locks='shared'")
        # A statement also carries the step's output and error, and quoting may double what it carries.
        fits = (found.statement_bytes - 2 * (self.settings.max_output_bytes + _MOST_OF_ERROR)) // 2
        if fits < self.max_context_bytes:
            self.max_context_bytes = fits
            self.log.warning("max_context_bytes is lowered to %d: one statement to this server can't carry more", fits)

    async def close(self) -> None:
        """Close every connection."""
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await self.dispose(engine)

    async def dispose(self, engine: AsyncEngine) -> None:
        """Close the connections of an engine; a network that swallows everything does not keep us."""
        try:
            async with asyncio.timeout(_CONNECT_LIMIT):
                # What a cancelled task has left to be cleaned up comes back to its pool first.
                while engine.pool.checkedout():  # type: ignore[attr-defined]  # noqa: ASYNC110 - a queue pool; it tells nobody
                    await asyncio.sleep(_GIVEN_BACK)
                await engine.dispose()
        except TimeoutError:
            self.log.warning("%s: its connections do not close; they are left to the server", self)

    @property
    def engine(self) -> AsyncEngine:
        """The engine of the data connections."""
        assert self._engine is not None  # noqa: S101 - awfe.Engine refuses verbs before open() and after close()
        return self._engine

    async def write(self, work: Work[T], retry_for: float | None = None, *, unseen: bool = False) -> T:
        """Do a transaction, again as a whole after an error that may pass; raises `StoreUnavailable` in the end.

        `work` may be done several times and even after it was committed: it must find that out by itself. `unseen`:
        this is awaited by a task that nobody cancels.
        """
        return await self.retried(lambda: self._transaction(work), retry_for, self._line, unseen=unseen)

    async def read(self, work: Work[T], retry_for: float | None = None, *, unseen: bool = False) -> T:
        """Do a transaction that only reads."""
        return await self.retried(lambda: self._look(work), retry_for, self._line, unseen=unseen)

    async def request(self, work: Callable[[Connection], T], retry_for: float | None = None) -> T:
        """Do what is one request, and commits itself; else as `write`, in a task that nobody cancels."""
        return await self.retried(lambda: self._request(work), retry_for, self._line, unseen=True)

    async def _transaction(self, work: Work[T]) -> T:
        async with self._connected(self.engine) as connection:
            result = await work(connection)
            await connection.run_sync(committed)
            return result

    async def _request(self, work: Callable[[Connection], T]) -> T:
        def once(connection: Connection) -> T:
            if self.kind == "postgresql":
                # It has one statement where the others have several, and needs no other transaction around it.
                connection.execution_options(isolation_level="AUTOCOMMIT")
            result = work(connection)
            committed(connection)
            return result

        async with self._connected(self.engine) as connection:
            return await connection.run_sync(once)

    async def _look(self, work: Work[T]) -> T:
        async with self._connected(self._reading) as connection:
            return await work(connection)

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        # Not used as a context manager: that closes in a task which a loop that goes down cancels before it begins.
        connection = await engine.connect()
        failed = False
        try:
            yield connection
        except AwfeError:
            raise
        except BaseException:
            # A COMMIT that fails leaves its transaction open, on SQLite and behind a driver's time-out: what the
            # connection is in the middle of is not certain, and only its end is.
            failed = True
            raise
        finally:
            # What was committed has given its connection back already.
            if not connection.closed:
                await to_the_end(self._end(connection, cut if failed else given_back))

    async def _end(self, connection: AsyncConnection, end: Callable[[Connection], None]) -> None:
        # What was read or committed stands, whether or not a ROLLBACK is answered.
        try:
            async with asyncio.timeout(_CONNECT_LIMIT):
                await connection.run_sync(end)
        except Exception:  # noqa: BLE001 - whatever it is: it is the connection's, and that is ended
            await connection.run_sync(cut)

    async def retried(
        self,
        once: Callable[[], Awaitable[T]],
        retry_for: float | None = None,
        line: asyncio.Semaphore | None = None,
        *,
        may_last: bool = False,
        unseen: bool = False,
    ) -> T:
        """Do something with the database, again after an error that may pass; raises `StoreUnavailable` in the end.

        Who stands in `line` waits for others of this engine, and not for the database: that takes none of his time.
        What `may_last` is not given up for taking long.
        """
        if retry_for is None:
            # Outside a run nobody's work is at stake, so a verb does not wait longer than a start does.
            retry_for = min(self.settings.connect_retry_for, self.settings.db_retry_for)
        pause, waited, told = _FIRST_PAUSE, 0.0, False
        while True:
            began = time.monotonic()
            try:
                async with line or nullcontext():
                    began = time.monotonic()
                    patience = min(_TRANSACTION_LIMIT, max(retry_for - waited, _LEAST_LIMIT))
                    # On SQLite the end of a transaction that takes too long is awaited all the same.
                    lasts = may_last or (unseen and self.kind == "sqlite")
                    async with asyncio.timeout(None if lasts else patience):
                        return await (once() if unseen else self._shielded(once()))
            except Exception as error:
                if not faults.is_foreign(error):
                    raise
                waited += time.monotonic() - began
                if not faults.is_transient(error):
                    raise self._refused(error) from error
                if waited + pause > retry_for:
                    msg = f"{self}: no answer for {waited:.1f} s: {faults.brief(error)}"
                    raise StoreUnavailable(msg) from error
                if waited > 1 and not told:
                    told = True
                    self.log.warning("%s does not answer (%s); trying for %g s", self, faults.brief(error), retry_for)
            # Jitter keeps the engines that lost the same server from coming back at the same moment.
            slept = pause * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
            await asyncio.sleep(slept)
            waited += slept
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _shielded(self, once: Awaitable[T]) -> Coroutine[Any, Any, T]:
        # On SQLite a cursor that a traceback still holds keeps a cut-off transaction open, and the file locked; so
        # there a cancellation is delivered when the transaction is over.
        return to_the_end(once) if self.kind == "sqlite" else cut_once(once)

    def _refused(self, error: Exception) -> AwfeError:
        if faults.is_rejected(error):
            msg = f"{self}: refused for user {self.url.username!r} at host {self.url.host!r}: {faults.brief(error)}"
            return ConfigError(msg)
        return StoreUnavailable(f"{self}: {faults.brief(error)}")
