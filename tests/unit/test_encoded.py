"""What is kept beside the values of a context is what a look at all of them would find."""

from hypothesis import given
from hypothesis import strategies as st

from awfe.domain.encoded import Encoded, size_of
from awfe.domain.secret import Secret
from awfe.domain.values import encode, mentions_secret

KEYS = st.sampled_from("abcd")
VALUES = st.sampled_from(
    [encode(value, "") for value in (None, "", "x" * 100, [1, 2], Secret("s"), {"k": Secret("t")})]
)


def check(values: Encoded, model: dict[str, bytes]) -> None:
    assert list(values.items()) == list(model.items())
    assert values.plain() == model
    assert values.size == size_of(model)
    assert values.secretive == {key for key, data in model.items() if mentions_secret(data)}


@given(st.dictionaries(KEYS, VALUES), st.lists(st.tuples(KEYS, st.none() | VALUES), max_size=12))
def test_size_and_secretive_keys_follow_each_change(
    begin: dict[str, bytes], changes: list[tuple[str, bytes | None]]
) -> None:
    values, model = Encoded(begin), dict(begin)
    copy = Encoded(values)
    for key, data in changes:
        if data is None:
            assert values.pop(key, None) == model.pop(key, None)
        else:
            values[key] = model[key] = data
        check(values, model)
    check(copy, begin)
    check(Encoded(values), model)
