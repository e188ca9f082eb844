"""Values of a file made to fit the types of the format, and told about where they don't."""

import types
import typing
from typing import Annotated, Any, Final, get_args, get_origin

import msgspec
from msgspec import Meta, Struct, UnsetType

from awfe.domain.secret import KEY, Secret
from awfe.domain.values import is_storable
from awfe.errors import InvalidInput
from awfe.runbooks import durations
from awfe.runbooks.keys import DURATION, NODE, names
from awfe.runbooks.nodes import Node, braces, plain, secret
from awfe.runbooks.problems import Path, Report, meant

UNFIT: Final = object()
_SCALARS: Final = (str, int, float, bool, type(None))
# What people may know under another name.
_OTHERWISE: Final = {
    "rerun": "write on_interrupt: rerun",
    "retries": "write retry: 3",
    "loop": "write a foreach",
    "with_items": "write a foreach",
    "required": "what has no default is required",
    "args": "write with: or arguments:",
}


def fit_keys(node: Node, keys: type[Struct], path: Path, report: Report) -> dict[str, Any] | None:
    """Return the values of a mapping by the names of its keys, without those that don't fit."""
    if not isinstance(node.value, dict):
        report.add(node.line, path, f"is {kind(node)}; give a mapping of keys: {', '.join(names(keys))}")
        return None
    known = names(keys)
    found: dict[str, Any] = {}
    for key, item in node.value.items():
        if key not in known:
            hint = _OTHERWISE.get(key) or meant(key, known)
            report.add(node.line_of(key), path, f"there is no key {key!r:.60}; {hint}")
        elif (value := fit(item, known[key].type, (*path, key), report)) is not UNFIT:
            found[key] = value
    for key, each in known.items():
        if each.required and key not in node.value:
            report.add(node.line, path, f"{key!r} is missing; give {describe(each.type)}")
    return found


def fit(node: Node, wanted: Any, path: Path, report: Report) -> Any:
    """Return a value as a type has it; `UNFIT` when that was told."""
    if any(meta.extra and NODE in meta.extra for meta in _metas(wanted)):
        return node
    if Any in _members(wanted):
        return _storable(node, path, report)
    if isinstance(node.value, dict):
        return _fit_dict(node, wanted, path, report)
    if isinstance(node.value, list):
        return _fit_list(node, wanted, path, report)
    return _fit_scalar(node, wanted, path, report)


def _fit_scalar(node: Node, wanted: Any, path: Path, report: Report) -> Any:
    scalars = tuple(each for each in _members(wanted) if each in _SCALARS or get_origin(each) is typing.Literal)
    if not scalars:
        return _refuse(node, wanted, path, report)
    value = node.value
    # What was written without quotes is a text where one is wanted.
    if node.text is not None and value is not None and type(value) not in scalars:
        value = value if type(value) is int and float in scalars else node.text
    try:
        value = msgspec.convert(value, typing.Union[scalars])  # noqa: UP007 - of a tuple
    except msgspec.ValidationError:
        return _refuse(node, wanted, path, report)
    return _checked(node, value, wanted, path, report)


def _fit_list(node: Node, wanted: Any, path: Path, report: Report) -> Any:
    for member in _members(wanted):
        if get_origin(member) is list:
            items = [fit(each, get_args(member)[0], (*path, n), report) for n, each in enumerate(node.value)]
            return UNFIT if UNFIT in items else items
    return _refuse(node, wanted, path, report)


def _fit_dict(node: Node, wanted: Any, path: Path, report: Report) -> Any:
    members = _members(wanted)
    if Secret in members and node.value.keys() == {KEY}:
        found = secret(node, path, report)
        return UNFIT if found is None else found
    for member in members:
        if isinstance(member, type) and issubclass(member, Struct) and member is not Secret:
            found = fit_keys(node, member, path, report)
            return UNFIT if found is None else found
        if get_origin(member) is dict:
            item = get_args(member)[1]
            items = {key: fit(each, item, (*path, key), report) for key, each in node.value.items()}
            return UNFIT if UNFIT in items.values() else items
    return _refuse(node, wanted, path, report)


def _checked(node: Node, value: Any, wanted: Any, path: Path, report: Report) -> Any:
    """Look at what a type says beside what it is."""
    if isinstance(value, str) and not is_storable(value):
        report.add(node.line, path, "it has a lone surrogate, which can't be saved")
        return UNFIT
    for meta in _metas(wanted):
        try:
            if meta.extra and DURATION in meta.extra:
                value = durations.seconds(value)
            elif isinstance(value, str) and (meta.pattern or meta.min_length):
                msgspec.convert(value, Annotated[str, Meta(pattern=meta.pattern, min_length=meta.min_length)])
        except msgspec.ValidationError:
            return _refuse(node, wanted, path, report)
        except InvalidInput as error:
            report.add(node.line, path, str(error))
            return UNFIT
    return value


def _storable(node: Node, path: Path, report: Report) -> Any:
    before = len(report)
    value = plain(node, path, report)
    return value if len(report) == before else UNFIT


def _refuse(node: Node, wanted: Any, path: Path, report: Report) -> Any:
    hint = f"; {said}" if (said := braces(node)) else ""
    report.add(node.line, path, f"is {kind(node)}; give {describe(wanted)}{hint}")
    return UNFIT


def kind(node: Node) -> str:
    """Return what a value is, in a message."""
    value = node.value
    if value is None:
        return "empty"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    if not isinstance(value, _SCALARS):
        return f"a {type(value).__name__}"
    shown = node.text if node.text is not None and not isinstance(value, str) else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}…"  # noqa: PLR2004 - a line


def describe(wanted: Any) -> str:
    """Return what to give, as the type says it."""
    said = next((meta.description for meta in _metas(wanted) if meta.description), None)
    names_ = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", Secret: "a secret"}
    names_ |= {type(None): "null"}
    listed = [names_.get(member) or _origin(member) for member in _members(wanted)]
    return said or " or ".join(dict.fromkeys(listed))


def _origin(member: Any) -> str:
    if get_origin(member) is typing.Literal:
        return " or ".join(map(str, get_args(member)))
    return {list: "a list", dict: "a mapping"}.get(get_origin(member) or member, "another value")


def _members(wanted: Any) -> list[Any]:
    """Return the types of a union, without what is said about them."""
    if get_origin(wanted) is Annotated:
        return _members(get_args(wanted)[0])
    if get_origin(wanted) in (types.UnionType, typing.Union):
        return [member for each in get_args(wanted) for member in _members(each) if member is not UnsetType]
    return [wanted]


def _metas(wanted: Any) -> list[Meta]:
    if get_origin(wanted) is Annotated:
        return [each for each in get_args(wanted)[1:] if isinstance(each, Meta)]
    if get_origin(wanted) in (types.UnionType, typing.Union):
        return [meta for each in get_args(wanted) for meta in _metas(each)]
    return []
