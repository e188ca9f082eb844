"""A TCP proxy before a server, that can be cut, frozen and mended, and that strikes at a COMMIT: a network that fails.

It knows where the packets of MySQL, MariaDB and PostgreSQL begin and end, however TCP splits or joins them, and which
is a COMMIT. It speaks no TLS: a PostgreSQL client is told that there is none, a MySQL client must not ask for it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Final, Self

from sqlalchemy import URL, make_url

from awfe.testing.packets import MySQL, PostgreSQL


class Fault(Enum):
    """What may happen to a COMMIT on its way, and to its reply on the way back."""

    CUT_REQUEST = "the connection is cut before the request is passed on"
    CUT_REPLY = "the request is passed on, and the connection is cut before the reply is"
    LATE = "the client's connection is cut at once, and the request is passed on when it is released"
    HOLD_REQUEST = "the request is passed on when it is released, whether or not the client still waits"
    HOLD_REPLY = "the reply is passed on when it is released"
    LOSE_REQUEST = "neither the request nor anything else passes any more, and nobody is told"
    LOSE_REPLY = "the request is passed on, and nothing passes any more from the reply on"


_AT_REPLY: Final = (Fault.CUT_REPLY, Fault.HOLD_REPLY, Fault.LOSE_REPLY)


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet, header included; `connection` counts the clients.

    `statement` is that of a simple query, or "COMMIT" where it ends a change that PostgreSQL commits by itself.
    """

    connection: int
    from_client: bool
    data: bytes
    statement: str | None = None

    @property
    def is_commit(self) -> bool:
        """Whether it asks for a COMMIT, be it the last of several statements."""
        statements = (self.statement or "").rstrip("; \n").split(";\n")
        return statements[-1].strip().upper() == "COMMIT"


class Strike:
    """One fault at one COMMIT.

    `struck` is set when it has happened, `done` when the server has answered the COMMIT or its connection is gone.
    """

    def __init__(self, fault: Fault) -> None:
        """Wait for the COMMIT."""
        self.fault = fault
        self.struck = asyncio.Event()
        self.done = asyncio.Event()
        self.released = asyncio.Event()

    def release(self) -> None:
        """Pass on what is held."""
        self.released.set()


OnPacket = Callable[[Packet], Awaitable[None]]


class Proxy:
    """Passes packets on between a free port of 127.0.0.1 and the server that a URL names, while it is entered.

    `on_packet` is awaited before a packet is passed on: it may look, wait, or raise an `OSError` to cut the connection.
    `commits` counts those that came by, without that of a driver that has just set its session up.
    """

    def __init__(self, url: str | URL) -> None:
        """Stand before this server; nothing listens yet."""
        self._target = make_url(url)
        self._server: asyncio.Server
        self._links: set[asyncio.Task[None]] = set()
        self._strikes: dict[int, Strike] = {}
        self._port = self._accepted = self.commits = 0
        self.on_packet: OnPacket | None = None
        self.flows = asyncio.Event()
        self.flows.set()

    async def __aenter__(self) -> Self:
        """Begin to listen."""
        await self.mend()
        return self

    async def __aexit__(self, *_error: object) -> None:
        """End, whatever is held or lost."""
        await self.cut()

    @property
    def url(self) -> str:
        """The URL of the database behind the proxy, with its password."""
        return self._target.set(host="127.0.0.1", port=self._port).render_as_string(hide_password=False)

    async def mend(self) -> None:
        """Let connections through."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """End all connections, with what is held on them, and refuse new ones."""
        for listener in self._server.sockets:
            asyncio.get_running_loop().remove_reader(listener.fileno())
        for link in self._links:
            link.cancel()
        # From accept() to the callback it is three turns of asyncio's loop. A server that is closed meanwhile loses
        # whom it has accepted, and leaves him open.
        for _ in range(3):
            await asyncio.sleep(0)
        self._server.close()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    def freeze(self) -> None:
        """Pass nothing on, not even the end of a connection: a partition."""
        self.flows.clear()

    def thaw(self) -> None:
        """Pass on again, also what has come meanwhile."""
        self.flows.set()

    def at_commit(self, number: int, fault: Fault) -> Strike:
        """Let a fault happen at the n-th COMMIT from now on, 1 being the next."""
        strike = self._strikes[self.commits + number] = Strike(fault)
        return strike

    def strike_at(self, packet: Packet) -> Strike | None:
        """Count a COMMIT, and return what is to happen to it."""
        self.commits += packet.is_commit
        return self._strikes.pop(self.commits, None) if packet.is_commit else None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._accepted += 1
        task = asyncio.create_task(self._connect(self._accepted, reader, writer), name="proxy")
        self._links.add(task)
        task.add_done_callback(self._links.discard)
        # A task that is cancelled before it begins cannot do so itself.
        task.add_done_callback(lambda _task: writer.transport.abort())

    async def _connect(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dialect = PostgreSQL() if self._target.get_backend_name() == "postgresql" else MySQL()
        with suppress(OSError):
            far = await asyncio.open_connection(self._target.host, self._target.port or dialect.port)
            await _Link(self, number, dialect, (reader, writer), far).run()


_Side = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Link:
    """A client's connection, and the one to the server behind it."""

    def __init__(self, proxy: Proxy, number: int, dialect: MySQL | PostgreSQL, near: _Side, far: _Side) -> None:
        self._proxy = proxy
        self._number = number
        self._dialect = dialect
        self._reader, self._writer = near
        self._far_reader, self._far_writer = far
        self._strike: Strike | None = None
        self._sets_up = False

    async def run(self) -> None:
        """Pass on until both ways have ended."""
        ways = [asyncio.create_task(self._requests()), asyncio.create_task(self._replies())]
        try:
            await asyncio.wait(ways)
        finally:
            self._cut()
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)

    async def _requests(self) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                data, statement = await self._dialect.request(self._reader, self._writer)
                packet = Packet(self._number, from_client=True, data=data, statement=statement)
                strike = None if self._sets_up else self._proxy.strike_at(packet)
                self._sets_up = (statement or "").startswith("SET SESSION TRANSACTION")
                if strike is not None:
                    await self._at_request(strike)
                await self._pass(packet, self._far_writer)
                if strike is not None:
                    # What was held is answered before the server is told that the client has gone meanwhile.
                    await strike.done.wait()
                    if strike.fault is Fault.LOSE_REPLY:
                        await asyncio.Event().wait()
        await self._proxy.flows.wait()
        self._far_writer.close()

    async def _replies(self) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                data = await self._dialect.reply(self._far_reader)
                if self._dialect.is_last(data):
                    await self._at_reply()
                # A client that is gone is no reason not to hear the server out.
                with suppress(OSError):
                    await self._pass(Packet(self._number, from_client=False, data=data), self._writer)
        await self._at_reply()
        await self._proxy.flows.wait()
        self._writer.close()

    async def _pass(self, packet: Packet, writer: asyncio.StreamWriter) -> None:
        try:
            if self._proxy.on_packet is not None:
                await self._proxy.on_packet(packet)
        except OSError:
            self._cut()
            raise
        await self._proxy.flows.wait()
        if not writer.is_closing():
            writer.write(packet.data)
            await writer.drain()

    async def _at_request(self, strike: Strike) -> None:
        self._strike = strike
        if strike.fault in _AT_REPLY:
            return
        if strike.fault is Fault.LATE:
            self._writer.transport.abort()
        strike.struck.set()
        if strike.fault is Fault.CUT_REQUEST:
            self._cut()
            raise ConnectionAbortedError
        if strike.fault is Fault.LOSE_REQUEST:
            await asyncio.Event().wait()
        await strike.released.wait()

    async def _at_reply(self) -> None:
        strike, self._strike = self._strike, None
        if strike is None:
            return
        strike.done.set()
        if strike.fault is Fault.CUT_REPLY:
            self._cut()
        strike.struck.set()
        if strike.fault in (Fault.LOSE_REQUEST, Fault.LOSE_REPLY):
            await asyncio.Event().wait()
        if strike.fault is Fault.HOLD_REPLY:
            await strike.released.wait()

    def _cut(self) -> None:
        self._writer.transport.abort()
        self._far_writer.transport.abort()
