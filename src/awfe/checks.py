"""What callers give, refused with what to give instead."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from awfe.domain.moves import By
from awfe.domain.states import DELETABLE, WorkflowState
from awfe.domain.step import takes
from awfe.domain.values import is_storable
from awfe.errors import ConfigError, InvalidInput

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
MAX_NAME = 200
_LONGEST = 366 * 86_400
_OLDEST = timedelta(days=36_600)


def state(given: WorkflowState | str | None) -> WorkflowState | None:
    """Return a state by its name."""
    if given is None:
        return None
    try:
        return WorkflowState(given)
    except ValueError:
        msg = f"state={given!r}: the states are {', '.join(WorkflowState)}"
        raise InvalidInput(msg) from None


def name(given: object) -> None:
    """Refuse what can't be the name of a workflow."""
    if not isinstance(given, str):
        problem = f"is a {type(given).__qualname__}, not a str"
    elif not 1 <= len(given) <= MAX_NAME:
        problem = f"has {len(given)} characters; 1 to {MAX_NAME} are allowed"
    elif not is_storable(given) or any(_is_control(character) for character in given):
        problem = "has a control character or a lone surrogate"
    else:
        return
    msg = f"the workflow name {given!r:.60} {problem}"
    raise InvalidInput(msg)


def steps(given: Any) -> list[Any]:
    """Return the steps as a list; refuses what is no list of them, and an empty one."""
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        msg = f"steps={given!r:.100}: give a list of steps"
        raise InvalidInput(msg)
    if not (listed := list(given)):
        msg = "there are no steps: give at least one"
        raise InvalidInput(msg)
    return listed


def known(given: object) -> None:
    """Refuse what no workflow can be called: a server may take 0 for the first name that it finds."""
    if not isinstance(given, str) or not is_storable(given):
        msg = f"{given!r:.60} can't be the name of a workflow: give a str"
        raise InvalidInput(msg)


def text(what: str, given: object) -> None:
    """Refuse what is neither None nor a str."""
    if given is not None and not isinstance(given, str):
        msg = f"{what}={given!r:.60}: give a str"
        raise InvalidInput(msg)


def storable(what: str, given: object) -> None:
    """Refuse what no column can be compared with."""
    text(what, given)
    if isinstance(given, str) and not is_storable(given):
        msg = f"{what}={given!r:.60}: it has a lone surrogate"
        raise InvalidInput(msg)


def flag(what: str, given: object) -> None:
    """Refuse what is neither True nor False."""
    if type(given) is not bool:
        msg = f"{what}={given!r:.60}: give True or False"
        raise InvalidInput(msg)


def by(actor: str | None, reason: str | None) -> By:
    """Return who asked and why, as it is kept."""
    text("actor", actor)
    text("reason", reason)
    return By.of(actor, reason)


def _is_control(character: str) -> bool:
    return character < " " or "\x7f" <= character < "\xa0"


def whole(what: str, given: object) -> None:
    """Refuse what is not a whole number above 0."""
    if type(given) is not int or given < 1:
        msg = f"{what}={given!r}: give a whole number above 0"
        raise InvalidInput(msg)


def seconds(what: str, given: Any) -> None:
    """Refuse what is neither None nor a number of seconds."""
    if given is not None and (type(given) not in (int, float) or not 0 <= given <= _LONGEST):
        msg = f"{what}={given!r:.60}: give seconds, from 0 to {_LONGEST}"
        raise InvalidInput(msg)


def age(what: str, given: Any) -> timedelta:
    """Return an age given as a `timedelta` or in seconds."""
    try:
        found = given if isinstance(given, timedelta) else timedelta(seconds=given)
        if type(given) is not bool and timedelta(0) <= found <= _OLDEST:
            return found
    except (TypeError, ValueError, OverflowError):
        pass
    msg = f"{what}={given!r:.60}: give seconds or a timedelta, from 0 to {_OLDEST.days} days"
    raise InvalidInput(msg)


def deletable(given: Any) -> tuple[WorkflowState, ...]:
    """Return states by their names; refuses none of them, and those in which a workflow can't be deleted."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        listed: list[Any] = [given]
    else:
        listed = list(given)
    if not listed or any(each not in DELETABLE for each in listed):
        msg = f"states={given!r:.100}: give some of {', '.join(DELETABLE)}; what runs or waits is not deleted"
        raise InvalidInput(msg)
    return tuple(WorkflowState(each) for each in listed)


def logger(given: T | None) -> T | None:
    """Refuse what can't log."""
    if given is not None and not all(callable(getattr(given, level, None)) for level in ("info", "warning", "error")):
        msg = f"logger={given!r:.60}: give a logging.Logger or LoggerAdapter"
        raise ConfigError(msg)
    return given


def hook(given: F) -> F:
    """Refuse what is not an async function."""
    if not inspect.iscoroutinefunction(given) or not takes(given, 1):
        msg = f"{given!r:.100} can't be a hook: give an async function of ctx"
        raise InvalidInput(msg)
    return given


def observer(given: F) -> F:
    """Refuse what is not a function."""
    function: object = given
    if not callable(function) or not takes(function, 1):
        msg = f"{given!r:.100} can't observe: give a function of one Event"
        raise InvalidInput(msg)
    return given
