"""What is comparable of two lives of one workflow, the one undisturbed, the other not."""

from collections.abc import Sequence
from typing import Any

from awfe.domain.states import Cause
from tests.durability.sweep_check import Life


def facts_of(life: Life, *, has_child: bool) -> dict[str, Any]:
    """Return what must be the same, whatever has failed on the way."""
    workflow = life.workflow
    history = [(e.cause, e.step, e.attempt, e.before, e.after, e.changes) for e in life.history]
    revision = workflow.revision if workflow else 0
    # A child can't begin while the server has not noticed that the connection which took its lock is gone: then its
    # parent looks once more after a while.
    look = next((n for n, each in enumerate(history[:-3]) if _looks(history[n : n + 4])), None)
    if has_child and look is not None:
        del history[look : look + 2]
        revision -= 2
    return {
        "row": workflow and (workflow.state, workflow.position, workflow.request, revision),
        "steps": workflow and [(step.state, step.attempt) for step in workflow.steps],
        "context": workflow and workflow.context,
        "history": history,
        "marks": life.marks,
        "paid": life.paid,
    }


def _looks(lines: Sequence[tuple[Any, ...]]) -> bool:
    """Tell whether a step that waits looks, and waits on."""
    causes = [line[0] for line in lines]
    return lines[0] == lines[2] and causes[:2] == [Cause.STEP_WAITING, Cause.RUN] == causes[2:]


def difference(facts: dict[str, Any], expected: dict[str, Any]) -> str:
    """Tell where they differ."""
    return "; ".join(f"{key} is {facts[key]}, not {expected[key]}" for key in facts if facts[key] != expected[key])
