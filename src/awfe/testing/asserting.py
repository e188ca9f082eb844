"""What a test says of a workflow, with the story of the workflow in the message where it does not hold."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from awfe import checks
from awfe.domain.records import Workflow, WorkflowStep
from awfe.domain.states import WorkflowState
from awfe.engine import Engine

_LOOK: Final = 0.005


async def reached(
    engine: Engine, name: str, state: WorkflowState | str, *, step: int | None = None, within: float = 10
) -> Workflow:
    """Return a workflow as soon as it is in a state, and at a step where one is given, by its position from 1.

    Raises `AssertionError`, with what became of it, when it is not after `within` real seconds; `InvalidInput`,
    `WorkflowNotFound`.
    """
    __tracebackhide__ = True  # pytest shows the test's line, not ours
    wanted = checks.state(state)
    deadline = asyncio.get_running_loop().time() + within
    while True:
        workflow = await engine.get(name)
        if workflow.state is wanted and step in (None, workflow.position):
            return workflow
        if asyncio.get_running_loop().time() > deadline:
            there = f"{workflow.state} at step {workflow.position}"
            at = "" if step is None else f" at step {step}"
            raise AssertionError(_story(workflow, f"{name!r} is {there} after {within:g} s, not {wanted}{at}"))
        await asyncio.sleep(_LOOK)


def assert_workflow(
    workflow: Workflow,
    state: WorkflowState | str = WorkflowState.COMPLETED,
    *,
    steps: Sequence[str] | None = None,
    context: Mapping[str, Any] | None = None,
) -> None:
    """Hold a workflow to its state, to the states of its `steps`, in order, and to values of its context.

    Keys of the context that are not named may have any value. Raises `AssertionError`, which tells how far it came and
    the error of each step that failed; `InvalidInput` for what is no state.
    """
    __tracebackhide__ = True  # pytest shows the test's line, not ours
    wanted = checks.state(state)
    if workflow.state is not wanted:
        raise AssertionError(_story(workflow, f"{workflow.name!r} is {workflow.state}, not {wanted}"))
    states = [str(step.state) for step in workflow.steps]
    if steps is not None and states != (expected := [str(each) for each in steps]):
        raise AssertionError(_story(workflow, f"the steps of {workflow.name!r} are {states}, not {expected}"))
    for key, value in ({} if context is None else context).items():
        if key not in workflow.context:
            there = ", ".join(map(repr, workflow.context)) or "nothing"
            raise AssertionError(_story(workflow, f"{key!r} is not in the context of {workflow.name!r}: {there}"))
        if (found := workflow.context[key]) != value:
            raise AssertionError(_story(workflow, f"context[{key!r}] of {workflow.name!r} is {found!r}, not {value!r}"))


def _story(workflow: Workflow, problem: str) -> str:
    width = max(len(step.name) for step in workflow.steps)
    return "\n".join([problem, *(_line(step, width) for step in workflow.steps)])


def _line(step: WorkflowStep, width: int) -> str:
    line = f"  {step.position:>3} {step.name:<{width}} {step.state}"
    if step.error is not None:
        line += f": {step.error.first_line}"
    return line
