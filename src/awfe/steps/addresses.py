"""Hosts as people write them: `web1`, `ada@web1`, `web1:2222`, `ada@[::1]:2222`."""

import re
from dataclasses import dataclass
from typing import Any

from awfe.errors import InvalidInput

_ADDRESS = re.compile(
    r"(?:(?P<user>[\w.+-]+)@)?(?:\[(?P<ip>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<name>\w[\w.-]*))(?::(?P<port>\d{1,5}))?"
)
MAX_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Address:
    """One host; `text` is how it was given, and its name in results."""

    text: str
    name: str
    user: str | None
    port: int | None


def addresses(texts: list[Any]) -> list[Address]:
    """Return hosts; raises `InvalidInput` for what is none, and for one that is there twice."""
    found = [_address(text) for text in texts]
    for number, text in enumerate(texts):
        if text in texts[:number]:
            msg = f"hosts: {text!r} is there twice"
            raise InvalidInput(msg)
    return found


def _address(text: Any) -> Address:
    found = _ADDRESS.fullmatch(text) if isinstance(text, str) else None
    if found is None or (found["port"] and not 1 <= int(found["port"]) <= MAX_PORT):
        msg = f"hosts: {text!r:.100} is no host; write name, user@name, name:port, or [::1]:port"
        raise InvalidInput(msg)
    port = int(found["port"]) if found["port"] else None
    return Address(text, found["ip"] or found["name"], found["user"], port)
