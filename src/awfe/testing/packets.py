"""What a client and a server of MySQL, MariaDB or PostgreSQL send each other, packet by packet."""

import asyncio
import struct
from typing import Final

_COM_QUERY: Final = b"\x03"
_OK: Final = b"\0"
_MORE: Final = 8  # SERVER_MORE_RESULTS_EXISTS
_NEGOTIATIONS: Final = (80877103, 80877104)  # PostgreSQL's requests for TLS and for GSSAPI
_CHANGES: Final = (b"WITH", b"INSERT", b"UPDATE", b"DELETE")


class MySQL:
    """The packets of MySQL and MariaDB: three bytes of length, one that counts within an exchange, the payload."""

    port = 3306

    async def request(self, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> tuple[bytes, str | None]:
        """Return the client's next packet, and the statement in it."""
        data = await self.reply(reader)
        # An exchange begins with 0: what else a client sends, to log in for instance, is no command.
        is_query = data[3] == 0 and data[4:5] == _COM_QUERY
        return data, data[5:].decode(errors="replace") if is_query else None

    async def reply(self, reader: asyncio.StreamReader) -> bytes:
        """Return the server's next packet."""
        header = await reader.readexactly(4)
        return header + await reader.readexactly(int.from_bytes(header[:3], "little"))

    def is_last(self, reply: bytes) -> bool:
        """Tell whether no answer to another statement of the same request follows."""
        if reply[4:5] != _OK:
            return True
        # After the counts of rows and the last id come the flags.
        at = _after_number(reply, _after_number(reply, 5))
        return not int.from_bytes(reply[at : at + 2], "little") & _MORE


def _after_number(data: bytes, at: int) -> int:
    """Return where the number ends that begins there."""
    return at + {0xFC: 3, 0xFD: 4, 0xFE: 9}.get(data[at], 1)


class PostgreSQL:
    """The messages of PostgreSQL: one byte of type, four of length, the body; a client's first has no type.

    What executes a change outside a transaction, from Bind to Sync, is one request here, as drivers send it at once.
    """

    port = 5432

    def __init__(self) -> None:
        """Nothing is prepared yet."""
        self._begun = False
        self._is_idle = False
        self._changes: set[bytes] = set()

    async def request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[bytes, str | None]:
        """Return the client's next message, and the statement in it."""
        if not self._begun:
            self._begun = True
            return await self._first(reader, writer), None
        data = await self.reply(reader)
        kind, words = data[:1], data[5:].split(b"\0")
        if kind == b"Q":
            return data, words[0].decode(errors="replace")
        if kind == b"P" and words[1].lstrip().upper().startswith(_CHANGES):
            self._changes.add(words[0])
        if kind != b"B" or not self._is_idle or words[1] not in self._changes:
            return data, None
        while kind != b"S":
            more = await self.reply(reader)
            data, kind = data + more, more[:1]
        return data, "COMMIT"

    async def _first(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        while True:
            header = await reader.readexactly(8)
            length, code = struct.unpack("!ii", header)
            if code not in _NEGOTIATIONS:
                return header + await reader.readexactly(length - 8)
            writer.write(b"N")

    async def reply(self, reader: asyncio.StreamReader) -> bytes:
        """Return the server's next message."""
        header = await reader.readexactly(5)
        body = await reader.readexactly(int.from_bytes(header[1:], "big") - 4)
        if header[:1] == b"Z":
            # A server's word that it is ready, and whether within a transaction.
            self._is_idle = body == b"I"
        return header + body

    def is_last(self, _reply: bytes) -> bool:
        """Tell whether no answer to another statement of the same request follows: there is only one."""
        return True
