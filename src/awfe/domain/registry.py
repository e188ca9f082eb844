"""Which class a saved step name means, and which function.

A class registers itself when it is defined. A saved name is only ever looked up: never evaluated, and nothing is
imported for it but what `allow` was given and the entry points in the group `awfe.steps`. A function is found by name
only where it is defined in one of these modules, or was offered by the program itself.
"""

import difflib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from typing import Any

from awfe.errors import ConfigError, InvalidInput

GROUP = "awfe.steps"
_MAX_NAME = 255

_classes: dict[str, type[Any]] = {}
_names: dict[type[Any], tuple[str, ...]] = {}
_functions: dict[str, Callable[..., Any]] = {}
_allowed: set[str] = set()


def register(cls: type[Any], name: str | None, aliases: tuple[str, ...]) -> None:
    """Register a class under its own name and its old ones; raises `InvalidInput` when another class has one."""
    origin = f"{cls.__module__}:{cls.__qualname__}"
    again = _remade(cls, origin) if name is None else ()
    names = again or (origin if name is None else name, *_listed(aliases, origin))
    for each in names:
        if type(each) is not str or not 0 < len(each) <= _MAX_NAME or not each.isprintable():
            msg = f"{origin}: the step name {each!r:.300} is not a str of 1 to {_MAX_NAME} printable characters"
            raise InvalidInput(msg)
        other = _classes.get(each)
        # The same class made again, as by a reload, takes the place of the first.
        if other is not None and f"{other.__module__}:{other.__qualname__}" != origin:
            msg = f"the step name {each!r} belongs to {other.__module__}:{other.__qualname__}; {origin} needs another"
            raise InvalidInput(msg)
    _classes.update(dict.fromkeys(names, cls))
    _names[cls] = names


def _listed(aliases: tuple[str, ...], origin: str) -> tuple[str, ...]:
    if isinstance(aliases, str):
        msg = f"{origin}: aliases={aliases!r} is a str; give a tuple of names"
        raise InvalidInput(msg)
    return tuple(aliases)


def _remade(cls: type[Any], origin: str) -> tuple[str, ...]:
    """Return the names of the class that this one replaces: `dataclass(slots=True)` makes it anew, without them."""
    for other, names in reversed(_names.items()):
        if f"{other.__module__}:{other.__qualname__}" == origin:
            return names if vars(other).get("work") is vars(cls).get("work") else ()
    return ()


def name_of(cls: type[Any], label: str) -> str:
    """Return the name a class is saved under; raises `InvalidInput` when another class has since taken it."""
    name = _names[cls][0]
    if _classes[name] is not cls:
        msg = f"{label}: two different classes are called {name!r}, and the other one came later; rename one"
        raise InvalidInput(msg)
    return name


def find(name: str) -> type[Any]:
    """Return the class of a saved name; raises `LookupError` with what is registered and what is closest."""
    if name not in _classes:
        _load_entry_points(name)
    if name in _classes:
        return _classes[name]
    close = difflib.get_close_matches(name[:_MAX_NAME], _classes, n=1)
    meant = f"; did you mean {close[0]!r}?" if close else "."
    known = ", ".join(sorted(_classes)[:20]) or "none"
    todo = f"Import its module, or name it in step_modules. Registered: {known}"
    msg = f"no step is registered as {name!r:.300}{meant} {todo}"
    raise LookupError(msg)


def offer(function: Any) -> str:
    """Let a function be found by the name that is returned; raises `InvalidInput` for one that has no lasting name."""
    name = f"{getattr(function, '__module__', None)}:{getattr(function, '__qualname__', None)}"
    if not inspect.isfunction(function) or _defined(name) is not function:
        msg = f"{function!r:.200} can't be found again by a name: give a function that a module defines, at its top"
        raise InvalidInput(msg)
    _functions[name] = function
    return name


def function(name: str) -> Callable[..., Any]:
    """Return the function of a saved name; raises `LookupError` for one that is not allowed, or not there."""
    if name in _functions:
        return _functions[name]
    module = name.partition(":")[0]
    if module not in _allowed:
        _load_entry_points(name)
    if module not in _allowed:
        todo = f"name {module!r:.200} in step_modules, or give the function itself"
        msg = f"{name!r:.300} may not be called: {todo}"
        raise LookupError(msg)
    found = _defined(name)
    if found is None:
        msg = f"{name!r:.300} is not a function that {module} defines at its top"
        raise LookupError(msg)
    return found


def _defined(name: str) -> Callable[..., Any] | None:
    """Return a function that an imported module defines itself, at its top."""
    module, _, attribute = name.partition(":")
    found = vars(sys.modules[module]).get(attribute) if module in sys.modules else None
    own = inspect.isfunction(found) and (found.__module__, found.__qualname__) == (module, attribute)
    return found if own else None


def _load_entry_points(wanted: str) -> None:
    for entry in entry_points(group=GROUP):
        try:
            entry.load()
        except Exception as error:
            broken = f"the entry point {entry.name!r} can't be loaded: {error!r}"
            msg = f"no step is registered as {wanted!r:.300}, and {broken}"
            raise LookupError(msg) from error
        _allowed.add(entry.module)


def allow(modules: Iterable[str]) -> None:
    """Import modules that define steps; raises `ConfigError` for one that can't be imported."""
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:
            msg = f"step_modules: {module!r} can't be imported: {error!r}"
            raise ConfigError(msg) from error
        _allowed.add(module)
