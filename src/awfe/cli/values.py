"""What people type for values of a context, and for times."""

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from awfe.errors import InvalidInput

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_AGE = re.compile(r"(\d{1,6})([smhd])")


def value(text: str) -> Any:
    """Return JSON where the text is JSON, else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def pairs(given: Iterable[str]) -> dict[str, Any]:
    """Return the values of `key=value` texts."""
    return {key: value(text) for key, text in texts(given).items()}


def texts(given: Iterable[str]) -> dict[str, str]:
    """Return the texts of `key=value` texts."""
    found: dict[str, str] = {}
    for each in given:
        key, equals, text = each.partition("=")
        if not equals or not key:
            msg = f"{each!r}: write key=value, where value is JSON or a text"
            raise InvalidInput(msg)
        if key in found:
            msg = f"{key!r} is given twice"
            raise InvalidInput(msg)
        found[key] = text
    return found


def age(text: str) -> timedelta:
    """Return how long something like 90s, 12h or 30d is."""
    if not (found := _AGE.fullmatch(text)):
        msg = f"{text!r} is no time: write it like 90s, 30m, 12h or 30d"
        raise InvalidInput(msg)
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def when(text: str | None) -> datetime | None:
    """Return a time: ISO 8601, in the local zone where it names none, or from now on, such as +90s or +2h."""
    if text is None:
        return None
    if text.startswith("+"):
        return datetime.now(UTC) + age(text[1:])
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        msg = f"{text!r} is not a time: write it like 2030-01-31T03:00, 2030-01-31T03:00Z or +2h"
        raise InvalidInput(msg) from None
