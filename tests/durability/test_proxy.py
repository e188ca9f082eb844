"""The proxy itself: that it finds its packets, hands them to a hook, and is as good as its server."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from sqlalchemy import make_url

from awfe import Engine, StoreUnavailable
from awfe.testing.proxy import Fault, Packet, Proxy
from tests.conformance.conftest import QUICK
from tests.conformance.steps import Note, World
from tests.databases import Database

pytestmark = pytest.mark.databases("mysql", "postgresql")


@pytest.fixture(autouse=True)
def world() -> World:
    """Return what the steps of this test share."""
    World.now = World()
    return World.now


@asynccontextmanager
async def crumbling(url: str) -> AsyncIterator[str]:
    """Pass bytes on one by one; yields the URL for it."""
    target = make_url(url)
    passing: set[asyncio.Task[None]] = set()

    async def crumble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while byte := await reader.read(1):
                writer.write(byte)
                await writer.drain()
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(target.host, target.port)
        ways = {asyncio.create_task(crumble(reader, far_writer)), asyncio.create_task(crumble(far_reader, writer))}
        passing.update(ways)
        await asyncio.wait(ways)

    async with await asyncio.start_server(accept, "127.0.0.1") as server:
        yield target.set(port=server.sockets[0].getsockname()[1]).render_as_string(hide_password=False)
    if passing:
        await asyncio.wait(passing)


async def test_a_commit_is_found_in_whatever_pieces_it_comes(database: Database) -> None:
    """Byte by byte between the client and the proxy, and between the proxy and the server."""
    async with (
        crumbling(database.url) as far,
        Proxy(far) as proxy,
        crumbling(proxy.url) as near,
        Engine(near, **QUICK) as engine,
    ):
        await engine.create_workflow("w", {}, [Note("one"), Note("two")])
        strike = proxy.at_commit(2, Fault.CUT_REPLY)
        assert (await engine.run("w")).state == "completed"
        assert strike.struck.is_set()
        assert World.now.calls == ["one", "two"]


async def test_a_hook_sees_packets_and_cuts(database: Database) -> None:
    """The connection of the first COMMIT is cut by the hook; what it sees afterwards is that it is done again."""
    seen: list[Packet] = []

    async def cut_first(packet: Packet) -> None:
        if packet.is_commit:
            seen.append(packet)
            if len(seen) == 1:
                raise ConnectionAbortedError

    async with Proxy(database.url) as proxy, Engine(proxy.url, **QUICK) as engine:
        await engine.create_workflow("w", {}, [Note("one")])
        proxy.on_packet = cut_first
        await engine.update_context("w", {"u": 1})
        assert (await engine.get("w")).context == {"u": 1}
    assert all(packet.from_client for packet in seen)
    assert seen[0].connection < seen[-1].connection


async def test_before_a_server_that_is_not_there_a_proxy_is_one_that_is_not_there(database: Database) -> None:
    url = make_url(database.url).set(port=9)
    async with Proxy(url) as proxy:
        with pytest.raises(StoreUnavailable):
            await Engine(proxy.url, connect_retry_for=0.0).open()


# How far its acceptance has got: asyncio takes some turns of the loop for it.
@pytest.mark.parametrize("turns", range(5))
async def test_a_cut_ends_a_client_whose_server_has_not_answered_yet(database: Database, turns: int) -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as silent,
        socket.create_connection(silent.getsockname()),  # never accepted; whoever comes after it waits for good
    ):
        far = make_url(database.url).set(port=silent.getsockname()[1])
        async with Proxy(far) as proxy:
            near = make_url(proxy.url)
            early, writer = await asyncio.open_connection(near.host, near.port)
            await asyncio.sleep(0.1)
            late = socket.create_connection((near.host, near.port))
            late.setblocking(False)  # noqa: FBT003 - it takes it by position only
            for _ in range(turns):
                await asyncio.sleep(0)
            await proxy.cut()
            async with asyncio.timeout(10):
                assert await early.read() == b""
                with late, suppress(ConnectionError):
                    assert await asyncio.get_running_loop().sock_recv(late, 1) == b""
            writer.close()
