"""What decisions are made on, for random tests."""

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from awfe.domain.decide import Halt, Situation
from awfe.domain.delta import Delta
from awfe.domain.moves import Head
from awfe.domain.outcomes import Ending, ErrorInfo, Outcome
from awfe.domain.retry import Retry
from awfe.domain.step import Policies
from awfe.domain.waits import Again, Approving, Sleep, Until, Wait, WaitFor, Waiting
from tests.unit.heads import LATER, NOW, rolling_back, running, waiting

Case = tuple[Situation, Outcome]
FAILED = Outcome(Ending.FAILED, error=ErrorInfo("ValueError", "no"))
BETWEEN = [(Halt.SHUTDOWN, "paused"), (Halt.PAUSE, "paused"), (Halt.STOP, "stopped")]

retries = st.builds(
    Retry,
    attempts=st.integers(min_value=1, max_value=4),
    wait=st.sampled_from([0, 0.5, 9.5, 3600]),
    factor=st.sampled_from([1, 2.0]),
)
policies = st.builds(
    Policies,
    retry=retries,
    on_error=st.sampled_from(["pause", "skip"]),
    on_interrupt=st.sampled_from(["pause", "rerun"]),
)
topics = st.sampled_from(["go", "awfe.child", "ä b"])
seconds = st.sampled_from([0, 0.5, 10, 86_400.0])
waitings: st.SearchStrategy[Waiting] = st.one_of(
    st.builds(Sleep, seconds),
    st.builds(Until, st.sampled_from([NOW, LATER, LATER + timedelta(days=999)])),
    st.builds(Again, seconds, st.none() | topics),
    st.builds(WaitFor, topics, st.none() | seconds, st.none() | st.just("key")),
    st.builds(WaitFor, topics, seconds, default=st.sampled_from([None, 1, {"a": [None]}])),
    st.builds(
        Approving, topics, st.sampled_from([(), ("ann", "bob")]), st.none() | seconds, st.none() | st.just("key")
    ),
)
waits = st.builds(Wait, st.sampled_from(["due", "again", "signal", "approval"]), st.none() | topics)
_endings = st.sampled_from([ending for ending in Ending if ending is not Ending.WAITING])
_deltas = st.sampled_from([Delta(), Delta.of({"a": 1})])
_errors = st.sampled_from([None, ErrorInfo("ValueError", "no")])
ended_outcomes = st.builds(
    Outcome, ending=_endings, delta=_deltas, error=_errors, alive=st.booleans(), begun=st.booleans()
)
begins_to_wait = st.builds(Outcome, ending=st.just(Ending.WAITING), delta=_deltas, waiting=waitings | waits)
outcomes = ended_outcomes | begins_to_wait
# What becomes of a step that waited: no code of its runs, so none can be alive or cut off.
waited = st.builds(Outcome, ending=st.sampled_from([Ending.COMPLETED, Ending.FAILED]), delta=_deltas, error=_errors)
waited |= begins_to_wait


@st.composite
def heads(draw: st.DrawFn, back: bool | None = None) -> Head:  # noqa: FBT001 - a parameter
    """Draw the head of a workflow that runs, or is rolled back, with or without a request."""
    step_count = draw(st.integers(min_value=1, max_value=4))
    request = draw(st.sampled_from([None, "pause", "stop"]))
    make = rolling_back if (draw(st.booleans()) if back is None else back) else running
    return make(
        step_count=step_count,
        position=draw(st.integers(min_value=1, max_value=step_count)),
        attempt=draw(st.integers(min_value=1, max_value=9)),
        rev=draw(st.integers(min_value=1, max_value=99)),
        token=draw(st.integers(min_value=1, max_value=99)),
        request=request,
        stop_grace=draw(st.sampled_from([None, 0.5])) if request == "stop" else None,
    )


@st.composite
def waiting_heads(draw: st.DrawFn) -> Head:
    """Draw the head of a workflow that waits: for what its step waits for, or for its next attempt."""
    wait = draw(st.none() | waits)
    due_at = LATER if wait is None else draw(st.sampled_from([None, NOW, LATER]))
    numbers: dict[str, Any] = {name: draw(st.integers(1, 9)) for name in ("position", "attempt", "rev", "token")}
    return waiting(wait, due_at=due_at, step_count=9, **numbers)


@st.composite
def situations(draw: st.DrawFn, back: bool | None = None) -> Situation:  # noqa: FBT001 - a parameter
    """Draw what a decision is made on."""
    head = draw(heads(back))
    asked = Halt.NONE if head.request is None else Halt[head.request.upper()]
    below = st.none() | st.integers(1, head.at - 1) if head.at > 1 else st.none()
    return Situation(
        head=head,
        policies=draw(policies),
        failures=draw(st.integers(min_value=0, max_value=5)),
        next_attempt=draw(st.integers(min_value=1, max_value=5)),
        # A runner knows what is asked of it.
        halt=draw(st.sampled_from([halt for halt in Halt if halt >= asked])),
        now=draw(st.sampled_from([NOW, LATER])),
        way=draw(below) if head.undoing else None,
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a situation and an outcome; an undo never waits."""
    drawn = draw(situations())
    return drawn, draw(ended_outcomes if drawn.head.undoing else outcomes)


def situation(head: Head | None = None, halt: Halt = Halt.NONE, failures: int = 0, **policies: Any) -> Situation:
    """Return an ordinary situation: the first of three steps runs."""
    return Situation(head or running(), Policies(**policies), failures, next_attempt=4, halt=halt, now=NOW)
