"""What must hold of a workflow whose process died: what it was told is stored, and nothing was done twice.

The marks tell what happened, the row and the history what is stored. Each check yields a sentence for what is wrong.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from awfe import Event, Workflow
from awfe.domain.step import can_undo
from tests.durability.sweep_actor import Deed, Scenario, nothing
from tests.durability.sweep_steps import Pay

Marks = Sequence[Sequence[str]]
_VERBS = (
    *("pause", "stop", "reset", "reset_from", "skip", "update_context"),
    *("signal", "approve", "reject", "rollback"),
)
# These may be repeated when they were interrupted.
_RERUN = ("tests.sweep.Again", "tests.sweep.Pay", "tests.sweep.Asks", "tests.sweep.Sub")


@dataclass(frozen=True)
class Left:
    """The row of a workflow as the dead process left it."""

    state: str
    between: bool
    position: int | None
    attempt: int
    step_state: str | None


@dataclass(frozen=True)
class Life:
    """A workflow after its process died: the row as it was left, and all about it when it was recovered."""

    name: str
    scenario: Scenario
    marks: Marks
    left: Left | None
    workflow: Workflow | None
    history: Sequence[Event]
    paid: Counter[int] = field(default_factory=Counter)


def after_the_crash(life: Life) -> Iterator[str]:
    """Yield what was acknowledged and is not stored, and what a recovery did that it must not."""
    if life.left is None or life.workflow is None:
        yield from _gone(life)
        return
    yield from _told(life)
    yield from _verbs(life)
    yield from _steps(life)
    yield from _interrupted(life, life.left)
    yield from _waited(life, life.left)
    yield from _paid(life)


def _gone(life: Life) -> Iterator[str]:
    made = life.scenario.prepared != "nothing" or ["ack", "created", "pending"] in life.marks
    if made and ["ask", "delete"] not in life.marks:
        yield "it is gone, but nobody deleted it"


def _told(life: Life) -> Iterator[str]:
    what, *rest = life.marks[-1] if life.marks else ("",)
    if what == "ack" and rest[0] == "delete":
        yield "it is there, but its deletion was acknowledged"
    if what == "ack" and rest[1] != "-" and life.left is not None and life.left.state != rest[1]:
        yield f"{rest[0]} said that it is {rest[1]}, and it is {life.left.state}"


def _verbs(life: Life) -> Iterator[str]:
    if life.scenario.act is nothing:
        # Its parent's steps did it, and leave no marks of that.
        return
    stored = Counter(event.cause.value for event in life.history)
    for verb in _VERBS:
        asked = sum(mark[:2] == ["ask", verb] for mark in life.marks)
        told = sum(mark[:2] == ["ack", verb] for mark in life.marks)
        if not told <= stored[verb] <= asked:
            yield f"{verb} was asked for {asked} times, acknowledged {told} times, and is stored {stored[verb]} times"


def _steps(life: Life) -> Iterator[str]:
    passed = {e.step for e in life.history if e.cause in ("step_completed", "step_skipped", "skip")}
    saved = Counter((e.step, e.attempt) for e in life.history if e.cause == "checkpoint")
    halted = False
    for what, *rest in life.marks:
        halted = halted or (what == "ack" and rest[0] in ("pause", "stop"))
        if what == "begin" and halted and life.scenario.after in ("paused", "stopped"):
            yield f"attempt {rest[1]} of step {rest[0]} began after the request was acknowledged"
        if what == "begin" and int(rest[0]) > 1 and int(rest[0]) - 1 not in passed:
            yield f"step {rest[0]} began, but the end of the step before it is not stored"
        if what == "saved" and saved[int(rest[0]), int(rest[1])] <= int(rest[2]):
            yield f"checkpoint {rest[2]} of attempt {rest[1]} of step {rest[0]} was acknowledged, and is not stored"


def _interrupted(life: Life, left: Left) -> Iterator[str]:
    """Yield what the recovery made of a step in the middle of which the process died."""
    assert life.workflow is not None
    state = life.workflow.state
    if left.state not in ("running", "rolling_back") or left.step_state == "waiting":
        return
    step = life.workflow.steps[(left.position or 0) - 1]
    if left.state == "running" and left.between:
        expected = {"paused", "stopped", "completed"}
    elif left.state == "running" and step.impl in _RERUN:
        expected = {"completed", "paused", "stopped", *_of_waits(life)}
    else:
        expected = {"error"}
        if (step.state, step.attempt) != ("interrupted", left.attempt):
            yield f"attempt {left.attempt} of step {step.position} was cut off; attempt {step.attempt} is {step.state}"
    if state not in expected:
        yield f"its process died while it was running (between attempts: {left.between}), and it is {state} now"


def _waited(life: Life, left: Left) -> Iterator[str]:
    """Yield what the recovery made of a step that waited, and still did when the process died, whoever ran it."""
    assert life.workflow is not None
    if left.step_state != "waiting" or left.state not in ("waiting", "running"):
        return
    expected = {"waiting"} if any(missing(life)) else {"completed", *_of_waits(life)}
    if life.workflow.state not in expected:
        yield f"it was {left.state}, its step waited, and it is {life.workflow.state} now"


def _of_waits(life: Life) -> set[str]:
    """Return in what state a workflow may be whose step waits for another's end, or for a person."""
    if life.scenario.child is not None:
        return {"waiting", "error"}
    return {"waiting"} if any(missing(life)) else set()


def missing(life: Life) -> Iterator[Deed]:
    """Yield the deeds of a life that are not stored."""
    stored = Counter(event.cause.value for event in life.history)
    for deed in life.scenario.deeds:
        stored[deed.cause] -= 1
        if stored[deed.cause] < 0:
            yield deed


def in_the_end(life: Life) -> Iterator[str]:
    """Yield what is wrong when an operator has brought the workflow to its end."""
    if life.scenario.after is None:
        if life.workflow is not None:
            yield "it was deleted, and is there"
        return
    if life.workflow is None or life.workflow.state != life.scenario.end:
        yield f"it does not come to its end: {life.workflow and life.workflow.state}"
        return
    yield from _bodies(life)
    yield from _undone(life)
    yield from _silent_reruns(life)
    yield from _paid(life)
    expected = expected_context(life)
    if life.workflow.context != expected:
        yield f"its context is {life.workflow.context}, and should be {expected}"


def _bodies(life: Life) -> Iterator[str]:
    began = Counter((int(m[1]), int(m[2])) for m in life.marks if m[0] in ("begin", "undo"))
    ended = {(int(m[1]), int(m[2])) for m in life.marks if m[0] in ("end", "undone")}
    stored = {(e.step, e.attempt): e.cause for e in life.history if e.cause.startswith("step_")}
    for (position, attempt), times in began.items():
        if times > 1:
            yield f"attempt {attempt} of step {position} ran {times} times"
        if (position, attempt) not in stored:
            yield f"attempt {attempt} of step {position} ran, and is not stored"
    for at, cause in stored.items():
        if cause in ("step_completed", "step_undone") and at not in ended:
            yield f"attempt {at[1]} of step {at[0]} is {cause}, and never came to its end"


def _undone(life: Life) -> Iterator[str]:
    """Yield what was undone twice, or not at all, or out of order."""
    undone = [event.step or 0 for event in life.history if event.cause == "step_undone"]
    steps = enumerate(life.scenario.steps, 1)
    undoable = [at for at, step in steps if can_undo(step)]
    if life.scenario.end == "rolled_back" and undone != sorted(undoable, reverse=True):
        yield f"the steps {undone} were undone, in this order, and {undoable} are to be"


def _paid(life: Life) -> Iterator[str]:
    """Yield transactional steps whose row is not there exactly once when they are completed, and not at all before."""
    completed = Counter(event.step for event in life.history if event.cause == "step_completed")
    for position, step in enumerate(life.scenario.steps, 1):
        wanted, there = completed[position] if isinstance(step, Pay) else 0, life.paid[position]
        if there != wanted:
            yield f"step {position} was completed {wanted} times, and its row is there {there} times"


def _silent_reruns(life: Life) -> Iterator[str]:
    """Yield steps that were run again although nobody said so."""
    done: set[int] = set()
    unknown = False
    for event in life.history:
        step = event.step or 0
        if event.cause in ("reset", "reset_from", "skip", "rollback"):
            unknown = False
            done = {each for each in done if event.cause != "reset_from" or each < step}
        elif event.cause in ("step_completed", "step_skipped"):
            if step in done or unknown:
                yield f"step {step} is completed, though it was {'completed' if step in done else 'interrupted'} before"
            done.add(step)
        elif event.cause == "step_interrupted":
            unknown = event.after == "error"
        elif event.cause == "run" and unknown:
            yield f"step {step} was interrupted, and run again without an operator"


def expected_context(life: Life) -> dict[str, Any]:
    """Return what the context must be, from what the history says was completed and checkpointed."""
    expected = dict(life.scenario.context)
    for event in life.history:
        if event.cause == "step_completed":
            expected[f"by{event.step}"] = event.attempt
        if event.cause == "step_undone":
            expected["undone"] = [*expected.get("undone", []), f"{event.step} {event.attempt}"]
    saved: list[str] = []
    attempts = Counter((e.step, e.attempt) for e in life.history if e.cause == "checkpoint")
    for (step, attempt), times in attempts.items():
        saved += [f"{step} {attempt} {n}" for n in range(times)]
    return {**expected, "saved": saved} if saved else expected
