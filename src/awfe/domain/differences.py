"""How the saved steps of a workflow differ from those that a program has now. Pure."""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, Final

import msgspec

from awfe.domain import registry, step
from awfe.domain.records import Diff, StepDiff
from awfe.domain.step import StepSpec
from awfe.domain.values import decode
from awfe.errors import InvalidInput

_sorted: Final = msgspec.json.Encoder(order="deterministic")
_Pair = tuple[StepSpec, StepSpec]


def today(spec: StepSpec) -> StepSpec:
    """Return a saved step as it would be saved now: under its present name, with its new fields; if it can be made."""
    try:
        return step.save(spec.position, spec.load())
    except (LookupError, InvalidInput):
        pass
    try:
        # It is known, but does not take what was saved.
        return msgspec.structs.replace(spec, impl=registry.name_of(registry.find(spec.impl), spec.name))
    except (LookupError, InvalidInput):
        return spec


def key_of(spec: StepSpec) -> bytes:
    """Return what two steps have in common that are the same."""
    return _sorted.encode([spec.impl, decode(spec.args), decode(spec.policies)])


def compare(saved: Sequence[StepSpec], given: Sequence[StepSpec]) -> Diff:
    """Return how the saved steps differ from the given; the fewest that can be said to do so, in order."""
    left, right = [today(spec) for spec in saved], list(given)
    found: list[StepDiff] = []
    for before, after in _in_place(tuple(left), tuple(right)):
        if key_of(before) != key_of(after):
            found.append(_diff("changed", before, after))
        left.remove(before)
        right.remove(after)
    for alike in (key_of, _impl_of):
        for before in tuple(left):
            after_or_none = next((each for each in right if alike(each) == alike(before)), None)
            if after_or_none is not None:
                found.append(_diff("reordered", before, after_or_none))
                left.remove(before)
                right.remove(after_or_none)
    found += [StepDiff("removed", each.name, each.impl, each.position, None) for each in left]
    found += [StepDiff("added", each.name, each.impl, None, each.position) for each in right]
    return Diff(tuple(sorted(found, key=lambda each: (each.after or each.before or 0, each.kind))))


def _impl_of(spec: StepSpec) -> str:
    return spec.impl


def _in_place(left: Sequence[StepSpec], right: Sequence[StepSpec]) -> Iterator[_Pair]:
    """Return pairs that keep their order: first those that are the same, then, between them, those of one class."""
    at = 0, 0
    for block in SequenceMatcher(
        None, [*map(key_of, left)], [*map(key_of, right)], autojunk=False
    ).get_matching_blocks():
        between = left[at[0] : block.a], right[at[1] : block.b]
        old, new = ([each.impl for each in side] for side in between)
        for alike in SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks():
            yield from zip(between[0][alike.a :][: alike.size], between[1][alike.b :][: alike.size], strict=True)
        yield from zip(left[block.a :][: block.size], right[block.b :][: block.size], strict=True)
        at = block.a + block.size, block.b + block.size


def _diff(kind: Any, before: StepSpec, after: StepSpec) -> StepDiff:
    was, now = _said(before), _said(after)
    differ = [key for key in (*was, *now) if key not in was or key not in now or was[key] != now[key]]
    return StepDiff(
        kind,
        after.name,
        after.impl,
        before.position,
        after.position,
        {key: was[key] for key in differ if key in was},
        {key: now[key] for key in differ if key in now},
    )


def _said(spec: StepSpec) -> dict[str, Any]:
    args: dict[str, Any] = decode(spec.args)
    using = decode(spec.policies)
    return args | ({"using": using} if using else {})
