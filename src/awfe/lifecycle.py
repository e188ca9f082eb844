"""How an engine is put together, opened and closed, and what may be hung into it."""

import asyncio
import logging
import os
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from secrets import token_hex
from types import TracebackType
from typing import Any, Self

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine

from awfe import checks
from awfe.domain import registry
from awfe.domain.services import Log
from awfe.execution.announcer import Announcer, Observer
from awfe.execution.children import Children
from awfe.execution.crew import Crew, Hook
from awfe.execution.gate import Gate
from awfe.execution.line import Line
from awfe.execution.output import Redirect, writer_to
from awfe.execution.planning import Planner
from awfe.execution.secrets import Resolver, Secrets
from awfe.execution.signals import Signals
from awfe.execution.steering import Steering
from awfe.persistence.entries import Entries
from awfe.persistence.locks import Locks, bell_for, locks_for
from awfe.persistence.purging import Purging
from awfe.persistence.reads import Reads
from awfe.persistence.session import Database
from awfe.persistence.transaction import transactions
from awfe.persistence.waiting import Waits
from awfe.persistence.writes import Writes
from awfe.settings import Settings
from awfe.shielding import cut_once, to_the_end

# Looks at locks, rings of bells and leases are few, where the locks have a database of their own.
_LOCK_POOL = 2


class Lifecycle:
    """The collaborators of one engine, from `open()` to `close()`."""

    def __init__(
        self,
        db: str | URL | Mapping[str, Any] | AsyncEngine,
        *,
        logger: Log | None = None,
        redirect: Redirect | None = None,
        secrets: Resolver | None = None,
        settings: Settings | None = None,
        **overrides: Any,
    ) -> None:
        """Check what was given; nothing is connected before `open()`."""
        self.settings = Settings.of(settings, overrides)
        self._log: Log = checks.logger(logger) or logging.getLogger("awfe")
        self._database = Database(db, self.settings, self._log)
        self._announcer = Announcer(self._log)
        self._gate = Gate()
        self._opening = asyncio.Lock()
        self._is_up = False
        self._reads = Reads(self._database)
        self._writes = Writes(self._database, self._announcer.tell)
        self._crew = Crew(
            owner=f"{socket.gethostname()[:60]}:{os.getpid()}:{token_hex(8)}",
            settings=self.settings,
            reads=self._reads,
            writes=self._writes,
            entries=Entries(self._database, self._reads, self._announcer.tell),
            waits=Waits(self._database, self._reads, self._announcer.tell),
            transaction=transactions(self._database, self._writes),
            line=Line(self.settings.max_running),
            log=self._log,
            clock=lambda: datetime.now(UTC),
            write_output=writer_to(redirect, self._log),
            secrets=Secrets(secrets),
        )
        self._steering = Steering(self._crew, self._gate)
        self._signals = Signals(self._crew, self._steering)
        self._purging = Purging(self._database, self._reads, self._announcer.tell)
        self._planner = Planner(self._crew, self._database, self._steering)
        self._crew.family = Children(self._crew, self._steering)
        self._lock_database = self._database
        if self.settings.lock_url is not None:
            self._lock_database = Database(self.settings.lock_url, self.settings, self._log)
            self._lock_database.on_engine = self._database.on_engine
        self._locks: Locks | None = None
        self._warned_of: set[str] = set()

    def __repr__(self) -> str:
        """Name the database, without its password."""
        return f"Engine({str(self._database)!r})"

    # --- lifecycle

    async def open(self) -> None:
        """Connect, and create the tables when there are none; waits `connect_retry_for` for a database.

        Opening an open engine does nothing. Raises `StoreUnavailable`, `ConfigError` or `SchemaOutdated`.
        """
        await cut_once(self._open())

    async def _open(self) -> None:
        async with self._opening:
            if self._is_up:
                return
            registry.allow(self.settings.step_modules)
            async with AsyncExitStack() as undone:
                undone.push_async_callback(self._database.close)
                await self._database.open()
                undone.push_async_callback(self._reads.close)
                undone.push_async_callback(self._writes.close)
                if self._lock_database is not self._database:
                    undone.push_async_callback(self._lock_database.close)
                    self._lock_database.connect(_LOCK_POOL)
                about = (self._lock_database, self._database.instance, self._crew.owner)
                self._locks = locks_for(*about)
                undone.push_async_callback(self._locks.close)
                await self._locks.open()
                self._crew.join(
                    self._locks, bell_for(*about), self._database.instance, self._database.max_context_bytes
                )
                undone.push_async_callback(self._steering.close)
                await self._steering.open()
                undone.pop_all()
            self._announcer.open()
            self._gate.is_open = self._is_up = True

    async def close(self) -> None:
        """Pause what runs, wait `shutdown_grace`, cut off the rest, and give everything back; see `recover()`.

        Closing a closed engine does nothing. A cancellation is delivered when all is done.
        """
        self._gate.is_open = False
        await to_the_end(self._close())

    async def _close(self) -> None:
        async with self._opening:
            if not self._is_up:
                return
            self._gate.is_open = self._is_up = False
            # When a loop goes down, SQLAlchemy's own tasks are cancelled too: the rest is given back all the same.
            async with AsyncExitStack() as stack:
                stack.push_async_callback(self._database.close)
                stack.push_async_callback(self._reads.close)
                stack.push_async_callback(self._writes.close)
                stack.push_async_callback(self._lock_database.close)
                if self._locks is not None:
                    stack.push_async_callback(self._locks.close)
                stack.push_async_callback(self._announcer.close, self.settings.shutdown_grace)
                stack.push_async_callback(self._gate.emptied)
                await self._steering.close()

    async def __aenter__(self) -> Self:
        """Open the engine."""
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the engine."""
        await self.close()

    def _verb(self, name: str) -> Gate:
        """Let a verb about one workflow in."""
        checks.known(name)
        return self._gate

    def _warn_of_main(self, impls: set[str]) -> None:
        """Warn once of each step that only this program can find."""
        for impl in impls - self._warned_of:
            self._log.warning("%s is defined in __main__: another program can't find it", impl)
        self._warned_of |= impls

    # --- hooks

    def before_step(self, hook: Hook) -> Hook:
        """Run an async function of `ctx` in each attempt, before `work`; one that raises fails the step."""
        self._crew.before_step.append(checks.hook(hook))
        return hook

    def after_step(self, hook: Hook) -> Hook:
        """Run an async function of `ctx` in each attempt, after `work` has returned; one that raises fails the step."""
        self._crew.after_step.append(checks.hook(hook))
        return hook

    def observer(self, observer: Observer) -> Observer:
        """Hand each line of the history, as it is committed, to a function, async or not; it can't disturb a run."""
        self._announcer.observers.append(checks.observer(observer))
        return observer
