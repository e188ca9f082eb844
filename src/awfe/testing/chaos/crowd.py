"""The workers of a chaos run, seen from the process that kills, freezes and replaces them."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from random import Random
from types import TracebackType
from typing import Self

from awfe.testing.chaos.worker import Orders

_CLOSES_IN = 60.0
_BORN_IN = 60.0


class Child:
    """A worker; `status` is done when it has ended, with its exit status, and is not for awaiting."""

    def __init__(self, pid: int) -> None:
        """It was just born."""
        self.pid = pid
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, as long as it lives."""
        if not self.status.done():
            os.kill(self.pid, number)

    async def ended(self, limit: float | None = None) -> bool:
        """Return True when it has ended, or False after so many seconds."""
        await asyncio.wait({self.status}, timeout=limit)
        return self.status.done()


class Slot:
    """A place for a worker; who holds `busy` may do something to it, and puts a new one there."""

    def __init__(self) -> None:
        """Nobody is there yet."""
        self.busy = asyncio.Lock()
        self.child: Child | None = None


class Crowd:
    """As many workers as there are places; `tell` gets a sentence for each that ended in a way nobody wanted."""

    def __init__(self, size: int, orders: Callable[[int], Orders], tell: Callable[[str], None]) -> None:
        """`orders` returns those of the n-th worker that is ever born."""
        self.born = 0
        self._slots = [Slot() for _ in range(size)]
        self._orders = orders
        self._tell = tell
        self._births: asyncio.Queue[int] = asyncio.Queue()
        self._birth = asyncio.Lock()
        self._children: dict[int, Child] = {}
        self._nursery: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start the nursery, and a worker in each place."""
        self._nursery = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "awfe.testing.chaos.nursery"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self._reader = asyncio.create_task(self._read())
        for slot in self._slots:
            await self._fill(slot)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the nursery, and with it whoever is left."""
        assert self._nursery is not None  # noqa: S101 - set in __aenter__
        assert self._nursery.stdin is not None  # noqa: S101 - a pipe
        self._nursery.stdin.close()
        await self._nursery.wait()
        if self._reader is not None:
            await self._reader

    @asynccontextmanager
    async def one(self, rng: Random) -> AsyncIterator[Child | None]:
        """Give a worker that nobody else is busy with; whoever is dead afterwards is replaced. None: all are busy."""
        free = [slot for slot in self._slots if not slot.busy.locked()]
        if not free:
            yield None
            return
        slot = rng.choice(free)
        async with slot.busy:
            child = slot.child
            if child is not None and child.status.done():
                self._tell(f"worker {child.pid} ended by itself, with status {child.status.result()}")
                child = None
            yield child
            if child is None or child.status.done():
                await self._fill(slot)

    async def close(self) -> None:
        """Let all workers close as services do."""
        await asyncio.gather(*(self._close(slot) for slot in self._slots))

    async def dismiss(self, child: Child) -> None:
        """Let a worker close as a service does, and see that it can."""
        child.signal(signal.SIGTERM)
        if not await child.ended(_CLOSES_IN):
            self._tell(f"worker {child.pid} did not close within {_CLOSES_IN:g} s")
            child.signal(signal.SIGKILL)
            await child.ended()
        # The signal may come before it has learned to heed it.
        elif (status := child.status.result()) not in (0, -signal.SIGTERM):
            self._tell(f"worker {child.pid} closed with status {status}")

    async def _close(self, slot: Slot) -> None:
        async with slot.busy:
            if slot.child is not None:
                await self.dismiss(slot.child)

    async def _fill(self, slot: Slot) -> None:
        async with self._birth:
            assert self._nursery is not None  # noqa: S101 - set in __aenter__
            assert self._nursery.stdin is not None  # noqa: S101 - a pipe
            self.born += 1
            line = json.dumps(asdict(self._orders(self.born))).encode() + b"\n"
            self._nursery.stdin.write(line)
            async with asyncio.timeout(_BORN_IN):
                pid = await self._births.get()
        slot.child = self._children[pid]

    async def _read(self) -> None:
        assert self._nursery is not None  # noqa: S101 - set in __aenter__
        assert self._nursery.stdout is not None  # noqa: S101 - a pipe
        async for line in self._nursery.stdout:
            said = json.loads(line)
            if "born" in said:
                self._children[said["born"]] = Child(said["born"])
                self._births.put_nowait(said["born"])
            else:
                self._children.pop(said["gone"]).status.set_result(said["status"])
