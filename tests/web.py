"""A web server on the loopback that remembers what it was asked, for the tests of requests."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Request:
    """What was asked."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Web:
    """The server: what it answers by path, else 200 and what it was asked, as JSON."""

    port: int = 0
    asked: list[Request] = field(default_factory=list)
    answers: dict[str, Answer | Callable[[], Any]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        try:
            request = await _read(reader)
            self.asked.append(request)
            answer = self.answers.get(request.target.partition("?")[0], _echo(request))
            if callable(answer):
                answer = await answer()
            if answer is not None:
                status, headers, body = answer
                lines = [f"HTTP/1.1 {status} Because", *(f"{name}: {text}" for name, text in headers.items())]
                lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
                writer.write("\r\n".join(lines).encode("latin-1") + body)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def _echo(request: Request) -> Answer:
    told = {"method": request.method, "target": request.target, "body": request.body.decode()}
    return 200, {"Content-Type": "application/json"}, json.dumps(told).encode()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, target, headers, body)


@asynccontextmanager
async def serving() -> AsyncIterator[Web]:
    """Yield a server that runs meanwhile."""
    web = Web()
    server = await asyncio.start_server(web.serve, "127.0.0.1", 0)
    web.port = server.sockets[0].getsockname()[1]
    async with server:
        yield web
