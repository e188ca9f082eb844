"""The values that can be saved: JSON, exactly as it was given, or refused.

What goes in comes out equal after a reload, or it does not go in: so tuples, sets, dates, bytes, NaN and subclasses
(an enum would come back as its value) are refused, never changed.
"""

import math
from typing import Any

import msgspec

from awfe.domain.secret import KEY, Revealed, Secret
from awfe.errors import ContextError, InvalidInput

_NAMES = "None, bool, int, float, str, list and dict"
MAX_DEPTH = 100
_REFERENCE = f'{{"{KEY}":'.encode()
_LEAST, _MOST = -(2**63), 2**64 - 1
_HINTS: dict[type[Any], str] = {
    tuple: "use a list",
    set: "use a list",
    frozenset: "use a list",
    bytes: "use text, for example base64",
    bytearray: "use text, for example base64",
}

# A text that knows its secret is saved as what it came from.
_encoder = msgspec.json.Encoder(enc_hook=lambda value: value.secret)
_decoder = msgspec.json.Decoder()


def encode(value: Any, path: str, error: type[InvalidInput] = ContextError) -> bytes:
    """Return a value as JSON; raise `error`, which names the path, where it would not come back the same."""
    _check(value, path, error, MAX_DEPTH)
    return _encoder.encode(value)


def decode(data: bytes) -> Any:
    """Return the value that was encoded."""
    value = _decoder.decode(data)
    return _with_secrets(value) if mentions_secret(data) else value


def mentions_secret(data: bytes) -> bool:
    """Tell whether a value that was encoded may have a secret in it."""
    return _REFERENCE in data


def _with_secrets(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_secrets(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {KEY}:
        return Secret(value[KEY])
    return {key: _with_secrets(item) for key, item in value.items()}


def is_storable(text: str) -> bool:
    """Tell whether a text has no lone surrogate, which no encoding can carry."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check(value: Any, path: str, error: type[InvalidInput], depth: int) -> None:
    kind = type(value)
    if kind not in (list, dict):
        problem = _problem(value, kind)
    elif depth:
        for key, item in enumerate(value) if kind is list else value.items():
            if kind is dict:
                check_key(key, path, error)
            _check(item, f"{path}[{key!r}]", error, depth - 1)
        return
    else:
        path, problem = f"{path:.60}…", f"nested deeper than {MAX_DEPTH} levels"
    if problem:
        msg = f"{path}: {problem}"
        raise error(msg)


def _problem(value: Any, kind: type[Any]) -> str:
    """Return what is wrong with a value that has no parts, or nothing."""
    if value is None or kind in (bool, Secret, Revealed):
        return ""
    if kind is str:
        return "" if is_storable(value) else "a lone surrogate can't be saved"
    if kind is int:
        return "" if _LEAST <= value <= _MOST else "an integer beyond 64 bits; use a str"
    if kind is float:
        return "" if math.isfinite(value) else f"{value} is not a JSON number; use None or a str"
    hint = _HINTS.get(kind, f"the values that can be saved are {_NAMES}")
    return f"a {kind.__qualname__} can't be saved; {hint}"


def check_key(key: Any, path: str, error: type[InvalidInput] = ContextError) -> None:
    """Refuse what can't be a key of a JSON object."""
    if type(key) is not str:
        msg = f"{path}: the key {key!r} is not a str"
        raise error(msg)
    if not is_storable(key):
        msg = f"{path}: the key {key!r} has a lone surrogate"
        raise error(msg)
    if key == KEY:
        msg = f"{path}: the key {key!r} is kept for references to secrets: give Secret(…), or call it otherwise"
        raise error(msg)
