"""Templates: texts in a step's arguments that values of the context are put into.

`{name}` is a value, `{name.key}` and `{name[0]}` are parts of it, `{{` and `}}` are braces.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from awfe.domain.context import Context
from awfe.domain.secret import Revealed, Secret
from awfe.domain.values import is_storable
from awfe.errors import ContextError, InvalidInput

_TOKEN = re.compile(r"\{\{|\}\}|\{([^\W\d][\w-]*)((?:\.[\w-]+|\[\d{1,9}\])*)\}|[{}]")
_PART = re.compile(r"\.([\w-]+)|\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a template; `keys` lead to its value."""

    text: str
    keys: tuple[str | int, ...]


Parts = list[str | Secret | Place]


def parse(template: object, what: str) -> Parts:
    """Return the texts and places of a template, in order; raises `InvalidInput`, which says where it is wrong.

    A secret is no template, whatever its text is, and a number stands for its text.
    """
    if isinstance(template, Secret | Revealed):
        return [template]
    if type(template) in (int, float):
        return [str(template)]
    if not isinstance(template, str) or not is_storable(template):
        msg = f"{what}={template!r:.100}: give a str"
        raise InvalidInput(msg)
    parts: Parts = []
    end = 0
    for found in _TOKEN.finditer(template):
        parts.append(template[end : found.start()])
        end = found.end()
        if found[1] is not None:
            rest = (key or int(index) for key, index in _PART.findall(found[2]))
            parts.append(Place(found[0], (found[1], *rest)))
        elif len(found[0]) == 1:
            near = template[max(0, found.start() - 20) : found.start() + 20]
            msg = f"{what}: the {found[0]!r} in {near!r} begins or ends no {{name}}; write {found[0] * 2!r} for a brace"
            raise InvalidInput(msg)
        else:
            parts.append(found[0][0])
    return [part for part in (*parts, template[end:]) if part]


def look_up(ctx: Context, place: Place) -> Any:
    """Return the value of a place; raises `ContextError` when the context has none."""
    value: Any = ctx
    for depth, key in enumerate(place.keys):
        try:
            value = _part(value, key)
        except LookupError:
            there = "the context" if depth == 0 else repr(place.keys[0])
            msg = f"{place.text}: {there} has no {key!r}" + (f"; it has {_some(ctx)}" if depth == 0 else "")
            raise ContextError(msg) from None
    return ctx.reveal(value)


def _part(value: Any, key: str | int) -> Any:
    if isinstance(key, int) and isinstance(value, list):
        return value[key]
    if isinstance(key, str) and isinstance(value, dict | Context):
        return value[key]
    raise LookupError(key)


def _some(ctx: Context) -> str:
    names = sorted(ctx)
    return ", ".join(names[:20]) + (", …" if len(names) > 20 else "") if names else "nothing"  # noqa: PLR2004 - a line


def word(value: Any, place: Place) -> str:
    """Return a value as one word; raises `ContextError` for None and for a list."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    problem = "is None" if value is None else f"is a {type(value).__name__} inside of a word; let it stand alone"
    msg = f"{place.text} {problem}: there is no text to put in"
    raise ContextError(msg)


def words(value: Any, place: Place) -> list[str]:
    """Return the words of a value that stands alone: those of a list are several."""
    return [word(item, place) for item in value] if isinstance(value, list) else [word(value, place)]


def text_of(part: str | Secret | Place, ctx: Context) -> str:
    """Return what stands in a text for a part of its template."""
    return word(look_up(ctx, part), part) if isinstance(part, Place) else str(ctx.reveal(part))


def fill(parts: Parts, ctx: Context) -> str:
    """Return the text of a template, with its values as plain text; a list that stands alone is JSON."""
    if len(parts) == 1 and isinstance(part := parts[0], Place) and isinstance(value := look_up(ctx, part), list):
        return json.dumps(value, ensure_ascii=False)
    return "".join(text_of(part, ctx) for part in parts)


def value_of(parts: Parts, ctx: Context) -> Any:
    """Return what a template stands for: the value itself where a place stands alone, else a text."""
    only = parts[0] if len(parts) == 1 else None
    if isinstance(only, Secret | Revealed):
        return only
    return look_up(ctx, only) if isinstance(only, Place) else fill(parts, ctx)
