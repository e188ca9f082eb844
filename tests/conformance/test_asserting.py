"""What a test says of a workflow, and what it is told where that does not hold."""

import pytest

from awfe import Engine, InvalidInput, StepError, WorkflowNotFound
from awfe.testing import assert_workflow, reached
from tests.conformance.helpers import hold
from tests.conformance.steps import Note, World


async def test_a_workflow_is_as_it_is_said_to_be(engine: Engine, world: World) -> None:
    world.failing["two"] = ValueError("no such file\nsecond line")
    await engine.create_workflow("w", {"n": 1, "m": None}, [Note("one", {"one": 1}), Note("two"), Note("three")])
    with pytest.raises(StepError):
        await engine.run("w")
    workflow = await engine.get("w")
    assert_workflow(workflow, "error", steps=["completed", "error", "pending"], context={"one": 1, "m": None})
    story = (
        r"\n    1 Note completed"
        r"\n    2 Note error: ValueError: no such file"
        r"\n    3 Note pending$"
    )
    with pytest.raises(AssertionError, match="^'w' is error, not completed" + story):
        assert_workflow(workflow)
    with pytest.raises(AssertionError, match=r"^the steps of 'w' are \['completed', 'error', 'pending'\], not \[\]"):
        assert_workflow(workflow, "error", steps=[])
    with pytest.raises(AssertionError, match=r"^context\['n'\] of 'w' is 1, not 2" + story):
        assert_workflow(workflow, "error", context={"one": 1, "n": 2})
    with pytest.raises(AssertionError, match="^'x' is not in the context of 'w': 'n', 'm', 'one'" + story):
        assert_workflow(workflow, "error", context={"x": None})
    with pytest.raises(InvalidInput, match="the states are pending"):
        assert_workflow(workflow, "failed")


async def test_a_state_is_waited_for(engine: Engine, world: World) -> None:
    await hold(engine, world)
    assert (await reached(engine, "w", "running", step=2)).position == 2
    with pytest.raises(AssertionError, match=r"^'w' is running at step 2 after 0\.1 s, not completed\n    1 Note"):
        await reached(engine, "w", "completed", within=0.1)
    with pytest.raises(AssertionError, match=r"not running at step 1"):
        await reached(engine, "w", "running", step=1, within=0)
    with pytest.raises(WorkflowNotFound):
        await reached(engine, "none", "completed")
    world.gates["w"].set()
    assert_workflow(await reached(engine, "w", "completed"))
