"""What a check stands on: engines, workflows with names of its own, and words for what does not hold."""

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Final, Protocol, Self, TypeVar

from sqlalchemy import delete, func, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from awfe.engine import Engine
from awfe.errors import AwfeError, ConfigError
from awfe.execution.handle import Handle
from awfe.persistence.schema import tombstone
from awfe.testing.conformance.steps import Gate, hold, note

T = TypeVar("T")

# Quick to notice things, and patient enough for a server far away.
_SETTINGS: Final[dict[str, Any]] = {
    "poll_interval": 0.25,
    "takeover_delay": 0.25,
    "connect_retry_for": 10.0,
    "db_retry_for": 20.0,
}
_LIMIT: Final = 90.0
LOG: Final = logging.getLogger("awfe.testing.conformance")
# What engines have to say of what checks do to them is no news.
ENGINES_LOG: Final = LOG.getChild("engines")


class Check(Protocol):
    """A check: it raises `AssertionError` where a database does not do what awfe needs of it."""

    __name__: str

    async def __call__(self, url: str, **settings: Any) -> None:
        """Check the database at `url`, by engines with these settings; raises `ConfigError` for wrong ones."""


@dataclass
class Held:
    """A workflow whose first step waits at its gate; its second only notes that it ran."""

    name: str
    gate: Gate
    handle: Handle


class Bed:
    """The engines and workflows of one check; when it is left, they are gone."""

    def __init__(self, url: str, settings: dict[str, Any]) -> None:
        """Nothing is connected yet."""
        self.url = url
        self.prefix = f"conformance-{token_hex(8)}-"
        # A database in use has work of its own, which is not ours to take up.
        self.settings = _SETTINGS | settings | {"recover_every": None}
        self._gates: list[Gate] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Let go what is held, close the engines, and delete the workflows."""
        for gate in self._gates:
            gate.opened.set()
        try:
            await self._stack.aclose()
            async with Engine(self.url, logger=ENGINES_LOG, **self.settings) as engine:
                await self._clear(engine)
        except (AwfeError, SQLAlchemyError, OSError) as error:
            LOG.warning("workflows named %s… may be left: %s", self.prefix, error)
        finally:
            for gate in self._gates:
                del Gate.known[gate.key]

    async def _clear(self, engine: Engine) -> None:
        for summary in await engine.list(name_prefix=self.prefix, limit=1_000):
            await engine.delete(summary.name)
        ours = func.substr(tombstone.c.name, 1, len(self.prefix)) == self.prefix
        await engine._database.write(lambda session: session.execute(delete(tombstone).where(ours)))  # noqa: SLF001 - no verb forgets a tombstone

    async def enter(self, context: AbstractAsyncContextManager[T]) -> T:
        """Enter something that is left when the check is over."""
        return await self._stack.enter_async_context(context)

    async def engine(self, **settings: Any) -> Engine:
        """Return one more open engine."""
        return await self.enter(Engine(self.url, logger=ENGINES_LOG, **(self.settings | settings)))

    def name(self, ending: str = "w") -> str:
        """Return the name of a workflow of this check."""
        return self.prefix + ending

    def gate(self) -> Gate:
        """Return a gate, shut."""
        self._gates.append(Gate())
        return self._gates[-1]

    async def hold(self, engine: Engine, ending: str = "w", **policies: Any) -> Held:
        """Run a workflow in the background, and return when its first step waits."""
        gate = self.gate()
        steps = [hold(gate.key).using(**policies), note(gate.key)]
        await engine.create_workflow(self.name(ending), {}, steps)
        held = Held(self.name(ending), gate, await engine.start(self.name(ending)))
        while not gate.entered.is_set():
            if held.handle.done():
                await held.handle
            await asyncio.sleep(0.01)
        return held


async def execute(engine: Engine, sql: str, **parameters: Any) -> list[Any]:
    """Run one statement behind the engine's back, and return its rows."""

    async def work(connection: AsyncConnection) -> list[Any]:
        result = await connection.execute(text(sql), parameters)
        return list(result) if result.returns_rows else []

    return await engine._database.write(work)  # noqa: SLF001 - it knows how to connect


def expect(holds: object, sentence: str) -> None:
    """Raise `AssertionError` with this sentence, unless it holds."""
    if not holds:
        raise AssertionError(sentence)


async def raises(expected: type[AwfeError], verb: Awaitable[object], otherwise: str) -> None:
    """Expect an error of a verb; the sentence says what it is when another comes, or none."""
    try:
        await verb
    except expected:
        return
    except AwfeError as error:
        msg = f"{otherwise} ({type(error).__name__}: {error})"
        raise AssertionError(msg) from error
    raise AssertionError(otherwise)


def check(meaning: str) -> Callable[[Callable[[Bed], Awaitable[None]]], Check]:
    """Make a check of a function that is given its bed; `meaning` tells what it means that something does not hold."""

    def made(body: Callable[[Bed], Awaitable[None]]) -> Check:
        @functools.wraps(body)
        async def checked(url: str, **settings: Any) -> None:
            try:
                async with Bed(url, settings) as bed, asyncio.timeout(_LIMIT):
                    await body(bed)
            except ConfigError:
                raise
            except TimeoutError as error:
                msg = f"it has not come to its end in {_LIMIT:g} s: {meaning}"
                raise AssertionError(msg) from error
            except (AssertionError, AwfeError, SQLAlchemyError, OSError) as error:
                msg = f"{error}: {meaning}"
                raise AssertionError(msg) from error

        return checked

    return made
