"""What a step may wait for: refused when it makes no sense, saved and read again, and over at the right time."""

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from awfe.domain.delta import NO_CHANGE, Delta
from awfe.domain.values import decode, encode
from awfe.domain.waits import MAX_TOPIC, Again, Approving, Sleep, Until, Wait, WaitFor, Waiting, saved
from awfe.errors import ContextError, InvalidInput
from tests.unit.heads import LATER, NOW
from tests.unit.situations import seconds, topics, waitings, waits
from tests.unit.strategies import same, values

HOUR = timedelta(hours=1)
NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001 - that is what is refused
SECONDS = [-1, -0.001, math.nan, math.inf, 1e12, True, "1", None, timedelta(seconds=1)]
MOMENTS = [NAIVE, None, "2026-01-01", 0, NOW.date()]
# A zone would lead out of what databases have, on either side.
FAR = [datetime.min.replace(tzinfo=timezone(14 * HOUR)), datetime.max.replace(tzinfo=timezone(-12 * HOUR))]
TOPICS = ["", None, 5, "x" * (MAX_TOPIC + 1), "a\nb", "a\0", "\ud800", b"go"]


def refused(make: Any, *args: Any, **kwargs: Any) -> str:
    """Return the message with which something is refused."""
    with pytest.raises(InvalidInput) as caught:
        make(*args, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize("given_", SECONDS, ids=repr)
def test_what_is_no_time_to_wait_is_refused(given_: Any) -> None:
    """The message names what was given, and what to give."""
    messages = [refused(Sleep, given_), refused(Again, given_)]
    messages += [refused(WaitFor, "go", given_)] if given_ is not None else []
    for message, what in zip(messages, ["Sleep(seconds", "Again(after", "WaitFor(timeout"], strict=False):
        assert message.startswith(f"{what}={given_!r:.60}: give seconds, from 0 to")


@pytest.mark.parametrize("given_", MOMENTS, ids=repr)
def test_what_is_no_time_of_the_world_is_refused(given_: Any) -> None:
    """A time without its zone is another time elsewhere."""
    assert refused(Until, given_).startswith(f"Until(when={given_!r:.60}: give a datetime with a zone")


@pytest.mark.parametrize("given_", FAR, ids=str)
def test_a_time_that_no_database_has_is_refused(given_: datetime) -> None:
    """Before it overflows somewhere."""
    assert refused(Until, given_).endswith("give a time from the year 1970 to 9998")


@pytest.mark.parametrize("given_", TOPICS, ids=ascii)
def test_what_is_no_topic_is_refused(given_: Any) -> None:
    """By all that takes one."""
    assert refused(WaitFor, given_).startswith(f"WaitFor(signal={given_!r:.60}: give the topic of a signal")
    if given_ is not None:
        assert refused(Again, 1, given_).startswith(f"Again(signal={given_!r:.60}: give the topic of a signal")


@pytest.mark.parametrize("key", [5, b"a", "\ud800"], ids=ascii)
def test_a_payload_is_only_saved_under_a_key(key: Any) -> None:
    """As the context has them."""
    assert "WaitFor.save_as" in refused(WaitFor, "go", save_as=key)


@pytest.mark.parametrize("default", [{1, 2}, math.nan, NOW, object()], ids=lambda value: type(value).__name__)
def test_a_default_is_a_value_of_the_context(default: Any) -> None:
    """What can't be saved is refused when the step returns it, not when it is needed."""
    with pytest.raises((InvalidInput, ContextError), match=r"^WaitFor\.default"):
        WaitFor("go", 1, default=default)


def test_the_bounds_themselves_are_fine() -> None:
    """No time at all, and a topic of full length."""
    assert (Sleep(0).seconds, Again(0, "x" * MAX_TOPIC).after, WaitFor("ä b", 0).timeout) == (0, 0, 0)


@given(waitings)
def test_what_a_step_waits_for_is_saved_and_read_again(waiting: Waiting) -> None:
    """Whole, also a default of None."""
    wait, _ = saved(waiting, NOW)
    assert msgspec.json.decode(msgspec.json.encode(wait), type=Wait) == wait
    assert wait.signal == getattr(waiting, "signal", None)


@pytest.mark.parametrize(
    ("waiting", "kind", "due_at"),
    [
        (Sleep(3600), "due", LATER),
        (Until(LATER.astimezone(timezone(5 * HOUR))), "due", LATER),
        (Again(3600), "again", LATER),
        (Again(0, "go"), "again", NOW),
        (WaitFor("go"), "signal", None),
        (WaitFor("go", 3600), "signal", LATER),
        (Approving("go", ("ann",)), "approval", None),
        (Approving("go", timeout=3600), "approval", LATER),
    ],
    ids=lambda given_: type(given_).__name__,
)
def test_a_wait_is_over_at_the_latest(waiting: Waiting, kind: str, due_at: datetime | None) -> None:
    """In UTC; never, for a signal without a timeout."""
    wait, latest = saved(waiting, NOW)
    assert (wait.kind, latest) == (kind, due_at)
    assert latest is None or latest.tzinfo is UTC


@given(waits, st.none() | st.sampled_from([NOW, LATER]), st.sampled_from([NOW, LATER]), st.booleans())
def test_a_wait_is_over_by_a_signal_or_when_it_is_due(
    wait: Wait,
    due_at: datetime | None,
    now: datetime,
    signalled: bool,  # noqa: FBT001 - hypothesis gives it
) -> None:
    """A signal comes before the time, even when both are there; a timeout is only for what waits for a signal."""
    woken = wait.woken(due_at, now, signalled=signalled)
    if signalled:
        assert woken == "signal"
    elif due_at is None or due_at > now:
        assert woken is None
    else:
        assert woken == ("timeout" if wait.kind in ("signal", "approval") else "due")


@given(waitings, st.integers(0, 200_000))
def test_a_wait_is_over_when_it_was_said_to_be_and_not_before(waiting: Waiting, after: int) -> None:
    """To the microsecond."""
    wait, due_at = saved(waiting, NOW)
    assert wait.woken(due_at, NOW + timedelta(days=10_000), signalled=False) is None or due_at is not None
    if due_at is not None:
        assert wait.woken(due_at, due_at + timedelta(microseconds=after), signalled=False) is not None
        assert wait.woken(due_at, due_at - timedelta(microseconds=after + 1), signalled=False) is None


@given(values, topics, st.none() | st.just("key"))
def test_a_payload_is_set_under_its_key(payload: Any, topic: str, save_as: str | None) -> None:
    """The topic is the key where no other was given."""
    wait, _ = saved(WaitFor(topic, save_as=save_as), NOW)
    context: dict[str, bytes] = {}
    wait.taken(encode(payload, "payload")).apply(context)
    assert list(context) == [save_as or topic]
    assert same(decode(context[save_as or topic]), payload)


@given(values, seconds)
def test_a_default_is_what_a_timeout_stands_for(default: Any, timeout: float) -> None:
    """None too is a value."""
    wait, _ = saved(WaitFor("go", timeout, default=default), NOW)
    (kept,) = wait.default
    assert same(decode(bytes(kept)), default)
    assert saved(WaitFor("go", timeout), NOW)[0].default == ()


@pytest.mark.parametrize("waiting", [Again(1, "go"), Approving("go")], ids=["again", "approving"])
def test_a_signal_that_only_wakes_changes_nothing(waiting: Waiting) -> None:
    """A poll looks for itself; an approval is kept only where that was asked for."""
    assert saved(waiting, NOW)[0].taken(b"1") == NO_CHANGE
    kept, _ = saved(Approving("go", save_as="answer"), NOW)
    assert kept.taken(b"1") == Delta({"answer": msgspec.Raw(b"1")})
