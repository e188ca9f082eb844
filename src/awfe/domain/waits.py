"""What `work` may return instead of None: the step waits, and its workflow holds nothing meanwhile."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import msgspec

from awfe.domain.delta import NO_CHANGE, Delta
from awfe.domain.values import check_key, encode, is_storable
from awfe.errors import InvalidInput

MAX_TOPIC: Final = 200
_LONGEST: Final = 100 * 366 * 86_400.0
_RAISES: Final = object()
# Beyond, a zone could lead to a time that no database has.
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC)

Woken = Literal["due", "signal", "timeout"]


def seconds(what: str, given: Any) -> float:
    """Return a time to wait; raises `InvalidInput`."""
    if type(given) not in (int, float) or not 0 <= given <= _LONGEST:
        msg = f"{what}={given!r:.60}: give seconds, from 0 to {_LONGEST:g}"
        raise InvalidInput(msg)
    return float(given)


def moment(what: str, given: Any) -> None:
    """Refuse what is no time that is the same everywhere."""
    if not isinstance(given, datetime) or given.utcoffset() is None:
        msg = f"{what}={given!r:.60}: give a datetime with a zone, such as datetime.now(UTC) + timedelta(hours=1)"
        raise InvalidInput(msg)
    if not _EARLIEST <= given < _LATEST:
        msg = f"{what}={given.isoformat()}: give a time from the year {_EARLIEST.year} to {_LATEST.year - 1}"
        raise InvalidInput(msg)


def topic(what: str, given: Any) -> str:
    """Return the topic of a signal; raises `InvalidInput`."""
    if (
        not isinstance(given, str)
        or not 1 <= len(given) <= MAX_TOPIC
        or not given.isprintable()
        or not is_storable(given)
    ):
        msg = f"{what}={given!r:.60}: give the topic of a signal, a str of 1 to {MAX_TOPIC} printable characters"
        raise InvalidInput(msg)
    return given


@dataclass(frozen=True, slots=True)
class Sleep:
    """Be finished after so many seconds; what `work` has changed is saved at once. Raises `InvalidInput`."""

    seconds: float

    def __post_init__(self) -> None:
        """Refuse what is no time."""
        seconds("Sleep(seconds", self.seconds)


@dataclass(frozen=True, slots=True)
class Until:
    """Be finished at this time, which needs its zone; what `work` has changed is saved at once."""

    when: datetime

    def __post_init__(self) -> None:
        """Refuse a time that is not the same everywhere."""
        moment("Until(when", self.when)


@dataclass(frozen=True, slots=True)
class Again:
    """Call `work` once more after so many seconds, or as soon as the signal comes: durable polling.

    What `work` has changed is saved at once. It is the same attempt; `ctx.step.woken` tells why it was called.
    """

    after: float
    signal: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is no time or no topic."""
        seconds("Again(after", self.after)
        if self.signal is not None:
            topic("Again(signal", self.signal)


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Be finished when a signal of this topic comes; its payload is set in the context, under `save_as` or the topic.

    After `timeout` seconds without it the step fails with `StepTimeout`, or with `default` takes that value instead.
    A signal that came before counts; each is taken once.
    """

    signal: str
    timeout: float | None = None
    save_as: str | None = None
    default: Any = field(default=_RAISES, repr=False)

    def __post_init__(self) -> None:
        """Refuse what can't be waited for."""
        topic("WaitFor(signal", self.signal)
        if self.timeout is not None:
            seconds("WaitFor(timeout", self.timeout)
        if self.save_as is not None:
            check_key(self.save_as, "WaitFor.save_as", InvalidInput)
        if self.default is not _RAISES:
            encode(self.default, "WaitFor.default", InvalidInput)


@dataclass(frozen=True, slots=True)
class Approving:
    """Be finished when somebody approves, one of `approvers` where these are given; for the step `Approval`."""

    signal: str
    approvers: tuple[str, ...] = ()
    timeout: float | None = None
    save_as: str | None = None


Waiting = Sleep | Until | Again | WaitFor | Approving
WAITING: Final = (Sleep, Until, Again, WaitFor, Approving)


class Wait(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a step waits for, as it is saved; `default` holds the JSON of the value that a timeout stands for.

    `approvers`: who may approve, for an approval; empty is anybody.
    """

    kind: Literal["due", "again", "signal", "approval"]
    signal: str | None = None
    save_as: str | None = None
    # In a tuple, since the value may be null.
    default: tuple[msgspec.Raw, ...] = ()
    timeout: float | None = None
    approvers: tuple[str, ...] = ()

    @property
    def key(self) -> str | None:
        """The key of the context under which the payload is set."""
        return self.save_as or (self.signal if self.kind == "signal" else None)

    def woken(self, due_at: datetime | None, now: datetime, *, signalled: bool) -> Woken | None:
        """Return why the wait is over, None while it is not."""
        if signalled:
            return "signal"
        if due_at is None or now < due_at:
            return None
        return "due" if self.kind in ("due", "again") else "timeout"

    def taken(self, payload: bytes) -> Delta:
        """Return the change that a payload makes."""
        return NO_CHANGE if self.key is None else Delta({self.key: msgspec.Raw(payload)})


def saved(waiting: Waiting, now: datetime) -> tuple[Wait, datetime | None]:
    """Return what a step waits for as it is saved, and when that is over at the latest."""
    match waiting:
        case Sleep(wait_for):
            return Wait("due"), now + timedelta(seconds=wait_for)
        case Until(when):
            return Wait("due"), when.astimezone(UTC)
        case Again(after, signal):
            return Wait("again", signal), now + timedelta(seconds=after)
        case WaitFor(signal, timeout, save_as, default):
            raw = () if default is _RAISES else (msgspec.Raw(encode(default, "WaitFor.default", InvalidInput)),)
            due_at = None if timeout is None else now + timedelta(seconds=timeout)
            return Wait("signal", signal, save_as, raw, timeout), due_at
        case _:
            due_at = None if waiting.timeout is None else now + timedelta(seconds=waiting.timeout)
            approvers = waiting.approvers
            return Wait("approval", waiting.signal, waiting.save_as, (), waiting.timeout, approvers), due_at
