"""Values of the context in the places of `{name}`."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from awfe.domain.values import encode
from awfe.errors import InvalidInput

_PLACE = re.compile(r"\{\{|\}\}|\{([A-Za-z_]\w*)\}", re.ASCII)


def filled(text: str, values: Mapping[str, Any], quote: Callable[[str], str] = str) -> str:
    """Put values in, each quoted; `{{` and `}}` are braces. Raises `InvalidInput` for what is not there."""

    def put(place: re.Match[str]) -> str:
        return place[0][0] if place[1] is None else quote(shown(value(place[1], values)))

    return _PLACE.sub(put, text)


def value(name: str, values: Mapping[str, Any]) -> Any:
    """Return a value; raises `InvalidInput` where there is none."""
    if name not in values:
        msg = f"{{{name}}}: the context has no such key; it has {', '.join(sorted(values)) or 'none'}"
        raise InvalidInput(msg)
    return values[name]


def shown(given: Any) -> str:
    """Return a value as a text: a str is itself, all else its JSON."""
    return given if isinstance(given, str) else encode(given, "value").decode()


def filled_json(given: Any, values: Mapping[str, Any]) -> Any:
    """Fill every string in JSON; one that is nothing but `{name}` becomes the value itself, whatever its type."""
    if isinstance(given, str):
        place = _PLACE.fullmatch(given)
        return value(place[1], values) if place and place[1] else filled(given, values)
    if isinstance(given, list):
        return [filled_json(item, values) for item in given]
    if isinstance(given, dict):
        return {key: filled_json(item, values) for key, item in given.items()}
    return given
