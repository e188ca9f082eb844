"""The replacement of the steps of a workflow that have not run yet. Pure."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from awfe.domain.differences import key_of, today
from awfe.domain.moves import By, Head, Move, Noted
from awfe.domain.outcomes import storable
from awfe.domain.states import Cause, StepState, Verb
from awfe.domain.step import StepSpec
from awfe.domain.values import decode
from awfe.domain.verbs import check
from awfe.errors import InvalidInput

MAX_DETAIL = 255


def replaced(head: Head, saved: Sequence[StepSpec], given: Sequence[StepSpec], by: By, now: datetime) -> Move | None:
    """Return the move that replaces the steps from the first that differs on; None where nothing does.

    What has run is to be the same in both: the log is about it. The steps that go are kept in the line of the history.
    """
    check(head, Verb.REPLACE_STEPS)
    kept = head.at - 1 if head.step_state is StepState.PENDING else head.at
    if len(given) < head.at:
        msg = f"{head.name!r} is at step {head.at}, and the list has {len(given)}: give all steps, past ones too"
        raise InvalidInput(msg)
    for was, given_now in zip(saved[:kept], given, strict=False):
        if key_of(today(was)) != key_of(given_now):
            raise InvalidInput(_refusal(head, was, given_now))
    gone, come = saved[kept:], given[kept:]
    if gone == come:
        return None
    same = next(
        (i for i, (old, new) in enumerate(zip(gone, come, strict=False)) if old != new), min(len(gone), len(come))
    )
    first = kept + same + 1
    noted = Noted(
        Cause.REPLACE_STEPS,
        now,
        first,
        by,
        detail=storable(f"from step {first} on: {', '.join(each.name for each in come[same:]) or 'none'}", MAX_DETAIL),
        output=msgspec.json.encode([_plain(each) for each in gone[same:]]).decode(),
    )
    after = replace(head, rev=head.rev + 1, token=head.token + 1, step_count=len(given))
    return Move(Cause.REPLACE_STEPS, head, after, noted=noted)


def _refusal(head: Head, was: StepSpec, now: StepSpec) -> str:
    ran = f"step {was.position} of {head.name!r} has run, as {was.name} with {was.args.decode():.200}"
    todo = "what has run stays as it is; give it unchanged, or reset from it first"
    return f"{ran}, and the list has {now.name} with {now.args.decode():.200} in its place: {todo}"


def _plain(spec: StepSpec) -> dict[str, object]:
    saved = {"args": decode(spec.args), "policies": decode(spec.policies)}
    return {"position": spec.position, "name": spec.name, "impl": spec.impl, **saved}
