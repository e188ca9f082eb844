"""Durations as people write them: `30s`, `5m`, `1h30m`, `250ms`, or a number of seconds."""

import re
from typing import Any, Final

from awfe.errors import InvalidInput

_UNITS: Final = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
PATTERN: Final = r"^(?=\d)" + "".join(rf"(\d{{1,9}}(?:\.\d{{1,3}})?{unit})?" for unit in _UNITS) + "$"
_DURATION: Final = re.compile(PATTERN, re.ASCII)


def seconds(given: Any) -> float:
    """Return the seconds of a duration; raises `InvalidInput`."""
    if type(given) in (int, float) and 0 <= given < float("inf"):
        return float(given)
    found = _DURATION.fullmatch(given) if isinstance(given, str) else None
    if found is None:
        msg = f"{given!r:.60} is no duration: write it as 30s, 5m or 1h30m, or as a number of seconds"
        raise InvalidInput(msg)
    parts = zip(_UNITS, found.groups(), strict=True)
    return sum(float(text.removesuffix(unit)) * _UNITS[unit] for unit, text in parts if text)
