"""What has become of a step that waits: its signal has come, its time has, or it waits on."""

from collections.abc import Mapping
from datetime import datetime

from awfe.domain.delta import NO_CHANGE, too_large
from awfe.domain.encoded import Encoded
from awfe.domain.moves import Head
from awfe.domain.outcomes import Ending, ErrorInfo, Outcome
from awfe.execution import endings
from awfe.persistence.writes import Found


def outcome_of_wait(
    head: Head, found: Found, now: datetime, context: Mapping[str, bytes], limit: int
) -> tuple[Outcome, Exception | None]:
    """Return how a step that waited has ended, if it has, and the error of one that has failed."""
    wait = head.wait
    assert wait is not None  # noqa: S101 - the schema holds it: who waits, waits for something
    signal = found.signal
    woken = wait.woken(head.due_at, now, signalled=signal is not None)
    if woken is None or wait.kind == "again":
        # What is due after all, since the claim, is seen by the next: only an attempt can poll.
        return Outcome(Ending.WAITING, output=found.printed, waiting=wait), None
    if woken == "timeout" and not wait.default:
        return _failed(endings.unheard(wait), found)
    delta = NO_CHANGE
    if signal is not None:
        delta = wait.taken(signal.payload)
    elif wait.default:
        delta = wait.taken(bytes(wait.default[0]))
    values = Encoded(context)
    delta.apply(values)
    if values.size > limit:
        return _failed(too_large(values.size, limit), found)
    return Outcome(Ending.COMPLETED, delta, found.printed, signal=None if signal is None else signal.id), None


def _failed(error: Exception, found: Found) -> tuple[Outcome, Exception]:
    return Outcome(Ending.FAILED, output=found.printed, error=ErrorInfo.of(error)), error
