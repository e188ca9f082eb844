"""Contexts with a type: a TypedDict or a msgspec struct, whose fields are keys that steps share.

The context itself stays a mapping of JSON values. A step that declares a type has an object of that type beside it,
made of those values when it is first asked for; what the step changes in it goes into the context when that is saved.
"""

import dataclasses
import difflib
import functools
import typing
from collections.abc import Mapping, MutableMapping
from typing import Any, NotRequired, Required

import msgspec
from typing_extensions import ReadOnly, TypeVar, is_typeddict

from awfe.domain.secret import Revealed, Secret, replaced
from awfe.domain.values import decode, encode
from awfe.errors import ContextError, InvalidInput

# Without a type it is Any: that of a plain `BaseStep` and of a plain `Context`.
Typed = TypeVar("Typed", bound=Mapping[str, object] | msgspec.Struct, default=Any)
# A function that reads a part of the keys takes the context of a step that has more of them.
Typed_co = TypeVar("Typed_co", bound=Mapping[str, object] | msgspec.Struct, default=Any, covariant=True)

_QUALIFIERS = (Required, NotRequired, ReadOnly)


@dataclasses.dataclass(frozen=True, slots=True)
class _Field:
    name: str
    type: Any
    is_needed: bool = False


class Shape:
    """What a type says of the keys of a context; keys that it does not name are none of its business."""

    def __init__(self, kind: Any) -> None:
        """Look at a type; raises `InvalidInput` for one that can't be a context's."""
        self.kind = kind
        self.name = getattr(kind, "__qualname__", repr(kind))
        self.is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
        if not self.is_struct and not is_typeddict(kind):
            msg = f"{self.name} can't be the type of a context: give a TypedDict or a msgspec.Struct"
            raise InvalidInput(msg)
        try:
            self.fields = _fields(kind) if self.is_struct else _keys(kind)
            for field in self.fields.values():
                # It refuses what no JSON can be told apart for, as a union of two structs without a tag.
                msgspec.json.Decoder(field.type)
        except (NameError, TypeError) as error:
            msg = f"{self.name} can't be the type of a context: {error}"
            raise InvalidInput(msg) from error

    def converted(self, key: str, value: Any) -> Any:
        """Return a JSON value as the type has it; raises `ContextError`."""
        try:
            return msgspec.convert(value, self.fields[key].type, str_keys=True)
        except msgspec.ValidationError as error:
            problem, _, path = str(error).partition(" - at `$")
            msg = f"context[{key!r}]{path.rstrip('`')}: {problem[0].lower()}{problem[1:]}, says {self.name}"
            raise ContextError(msg) from error

    def made(self, values: Mapping[str, Any]) -> Any:
        """Return an object of the type, of the values that are there; raises `ContextError`."""
        there = {f.name: self.converted(key, values[key]) for key, f in self.fields.items() if key in values}
        if not self.is_struct:
            return there
        missing = [key for key, field in self.fields.items() if field.is_needed and key not in values]
        if missing:
            msg = f"context[{missing[0]!r}] is not set, and {self.name} needs it: set it, or give the field a default"
            raise ContextError(msg)
        try:
            return self.kind(**there)
        except (TypeError, ValueError) as error:
            msg = f"the context does not fit {self.name}: {error}"
            raise ContextError(msg) from error

    def encoded(self, made: Any) -> dict[str, bytes]:
        """Return the values of such an object by key, encoded; raises `ContextError` for what would not come back."""
        if self.is_struct:
            values = {key: getattr(made, field.name) for key, field in self.fields.items()}
        else:
            values = dict(made)
            for key in values.keys() - self.fields.keys():
                close = difflib.get_close_matches(str(key), self.fields, n=1)
                meant = f"; did you mean {close[0]!r}?" if close else ""
                msg = f"context[{key!r}]: {self.name} has no such key{meant}"
                raise ContextError(msg)
        return {key: self._encoded(key, value) for key, value in values.items() if value is not msgspec.UNSET}

    def _encoded(self, key: str, value: Any) -> bytes:
        try:
            return encode(value, f"context[{key!r}]")
        except ContextError as refused:
            # Not JSON as it is: a date, a tuple, a struct, … may be, where the type brings it back.
            try:
                plain = msgspec.json.decode(msgspec.json.encode(value))
            except (TypeError, ValueError, OverflowError, RecursionError):
                raise refused from None
            data = encode(plain, f"context[{key!r}]")
            if self.converted(key, plain) != value:
                raise
            return data


class Face:
    """A context as its type has it, for one attempt: an object, and what was in it when the two were last the same."""

    def __init__(self, shape: Shape) -> None:
        """Make no object yet."""
        self._shape = shape
        self._made: Any = None
        self._known: dict[str, bytes] = {}
        self._checked: dict[str, bytes] = {}

    def of(self, values: Mapping[str, Any]) -> Any:
        """Return the object, made of a context when it is first asked for; raises `ContextError`."""
        if self._made is None:
            made = self._shape.made(values)
            self._known = self._shape.encoded(made)
            self._made = made
        return self._made

    def check(self, values: Mapping[str, bytes]) -> None:
        """Refuse encoded values that don't fit; raises `ContextError`. Those that are missing are not looked for."""
        for key in self._shape.fields:
            if key in values and self._checked.get(key) != (data := values[key]):
                # The text of a secret is known only to a step that reads it.
                self._shape.converted(key, replaced(decode(data), _stand_in))
                self._checked[key] = data

    def put_into(self, values: MutableMapping[str, Any]) -> None:
        """Set and remove in the context what has changed in the object; raises `ContextError`."""
        if self._made is None:
            return
        known, self._known = self._known, self._shape.encoded(self._made)
        for key, data in self._known.items():
            if known.get(key) != data:
                values[key] = decode(data)
        for key in known.keys() - self._known.keys():
            values.pop(key, None)


@functools.cache
def shape_of(kind: Any) -> Shape | None:
    """Return what a type says of a context, None where there is none; raises `InvalidInput`."""
    return None if kind in (None, Any) or isinstance(kind, typing.TypeVar) else Shape(kind)


def declared(ctx: object) -> Face:
    """Return what gives a context that no engine made as its type has it; raises `InvalidInput`."""
    shape = shape_of(next(iter(typing.get_args(getattr(ctx, "__orig_class__", None))), Any))
    if shape is None:
        msg = (
            "this context has no type: the step declares it, class MyStep(BaseStep[MyContext]); "
            "for a test of its work, make a Context[MyContext]({…})"
        )
        raise InvalidInput(msg)
    return Face(shape)


def argument(cls: type[Any], attribute: str) -> Any:
    """Return the type that a step class gives its context, a variable where its subclasses may, None where nobody has.

    `attribute` is where its bases have theirs.
    """
    for alias in vars(cls).get("__orig_bases__", ()):
        origin = typing.get_origin(alias)
        if hasattr(origin, attribute):
            known = getattr(origin, attribute) or Typed
            return dict(zip(origin.__parameters__, typing.get_args(alias), strict=False)).get(known, known)
    return getattr(cls, attribute)


def _fields(kind: type[msgspec.Struct]) -> dict[str, _Field]:
    return {f.encode_name: _Field(f.name, f.type, f.required) for f in msgspec.structs.fields(kind)}


def _keys(kind: Any) -> dict[str, _Field]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return {name: _Field(name, _unqualified(hint)) for name, hint in hints.items()}


def _unqualified(hint: Any) -> Any:
    while typing.get_origin(hint) in _QUALIFIERS:
        (hint,) = typing.get_args(hint)
    return hint


def _stand_in(secret: Secret) -> Revealed:
    return Revealed(secret.name, secret)
