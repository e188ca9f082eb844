"""What is kept of a step's output: its end, whatever the parts are, in a bounded number of bytes."""

from hypothesis import given
from hypothesis import strategies as st

from awfe.execution.output import Tail


@given(st.lists(st.text("aé€😀\n", max_size=12), max_size=30), st.integers(0, 20))
def test_it_is_the_end_of_all(parts: list[str], limit: int) -> None:
    tail = Tail(limit)
    for part in parts:
        tail.add(part)
    # What is longer by itself has its middle left out before it comes here.
    encoded = "".join(part[-limit:] if limit else "" for part in parts).encode()
    assert tail.text() == encoded[max(0, len(encoded) - limit) :].decode(errors="ignore")


def test_what_is_not_kept_takes_no_room() -> None:
    tail = Tail(0)
    for _ in range(100):
        tail.add("x")
    assert tail._parts == []
