"""What the steps of this package are given, refused with what to give instead."""

from typing import Any

from awfe import checks
from awfe.domain.context import Context
from awfe.errors import InvalidInput


def key(what: str, given: Any, *, optional: bool = True) -> None:
    """Refuse what can't be the name of a value in the context."""
    if not (isinstance(given, str) and given) and not (optional and given is None):
        msg = f"{what}={given!r:.60}: give a key of the context, as a str"
        raise InvalidInput(msg)


def key_or_list(what: str, given: Any) -> None:
    """Refuse what is neither a list nor the key of one."""
    if not isinstance(given, list):
        if not isinstance(given, str):
            msg = f"{what}={given!r:.60}: give a list, or the key of one in the context"
            raise InvalidInput(msg)
        key(what, given)


def listed(ctx: Context, what: str, given: str | list[Any]) -> list[Any]:
    """Return a list that was given, or that the context has; raises `InvalidInput` where it has none."""
    if isinstance(given, list):
        return given
    if given not in ctx:
        msg = f"{what}={given!r}: the context has no such key; it has {', '.join(sorted(ctx)) or 'none'}"
        raise InvalidInput(msg)
    found = ctx[given]
    if not isinstance(found, list):
        msg = f"{what}={given!r}: the context has a {type(found).__name__} there, not a list"
        raise InvalidInput(msg)
    return found


def seconds(what: str, given: Any) -> None:
    """Refuse what is not a number of seconds above 0."""
    checks.seconds(what, given)
    if not given:
        msg = f"{what}={given!r}: give seconds above 0"
        raise InvalidInput(msg)
