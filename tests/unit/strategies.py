"""What random tests draw from, and how they compare it."""

import math
from typing import Any

from hypothesis import strategies as st

from awfe.domain.secret import KEY

# All that Unicode has but surrogates, which no encoding can carry.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
# One key is refused; Hypothesis finds it among our constants.
keys = texts.filter(lambda text: text != KEY)
integers = st.integers(min_value=-(2**63), max_value=2**64 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | integers | floats | texts
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    """Compare values as JSON tells them apart: 1, 1.0 and True differ, so do 0.0 and -0.0, and orders of keys."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return bool(one == other)
