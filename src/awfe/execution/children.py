"""The workflows that steps begin: workflows of their own, whose end their parents hear of."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from awfe import checks
from awfe.domain import step
from awfe.domain.context import StepInfo
from awfe.domain.delta import Delta
from awfe.domain.moves import By, Head
from awfe.domain.records import Workflow
from awfe.domain.states import WorkflowState
from awfe.errors import WorkflowExists, WorkflowNotFound
from awfe.execution.control import TAKEN
from awfe.execution.crew import Crew
from awfe.execution.steering import Steering

_GOES = (WorkflowState.PENDING, WorkflowState.RUNNING, WorkflowState.WAITING)
_MARK = 8


class Children:
    """Begins and rolls back the workflows of steps."""

    def __init__(self, crew: Crew, steering: Steering) -> None:
        """Begin them through this engine."""
        self._crew = crew
        self._steering = steering

    async def raise_child(
        self, parent: Head, info: StepInfo, name: str, context: Mapping[str, Any], steps: Sequence[Any]
    ) -> Workflow:
        """Begin a workflow of a step's, or find it; returns it as it stands.

        What an operator has paused or stopped, and what has failed, is left to operators.
        """
        crew, by = self._crew, By(None, _reason(parent, info))
        name, head = await self._found(parent, info, name)
        if head is None:
            checks.name(name)
            specs = [step.save(position, each) for position, each in enumerate(checks.steps(steps), 1)]
            # Another runner of the same step may have been first.
            with suppress(WorkflowExists):
                await crew.entries.create(name, Delta.of(context), specs, by, crew.clock(), parent_id=parent.id)
            head = await self._own(parent, name)
        if head.state in _GOES and self._steering.control.result(name) is None:
            with suppress(*TAKEN):
                result = await self._steering.start(name, by)
                if result is not None:
                    # Its parent hears of its end, so nobody here has to.
                    result.awaited = True
        return await crew.reads.workflow(name)

    async def undo_child(self, parent: Head, info: StepInfo, name: str) -> None:
        """Roll a workflow of a step's back; raises what its rollback does."""
        name, head = await self._found(parent, info, name)
        if head is None or head.state is WorkflowState.ROLLED_BACK:
            return
        by = By(None, f"the rollback of {parent.name!r}")
        result = await self._steering.roll_back(name, by, current=False, skip=False, in_line=False)
        await self._steering.outlast(name, result)

    async def _found(self, parent: Head, info: StepInfo, name: str) -> tuple[str, Head | None]:
        """Return a workflow that this step has begun since it was last reset, and its name, which it may yet get."""
        for each in (name, f"{name} {info.key[:_MARK]}"):
            try:
                head = await self._own(parent, each)
            except WorkflowNotFound:
                return each, None
            if (await self._crew.reads.history(each))[0].reason == _reason(parent, info):
                return each, head
        raise WorkflowExists(name, f"there is a workflow {name!r} already, of another step of {parent.name!r}")

    async def _own(self, parent: Head, name: str) -> Head:
        head = await self._crew.reads.head(name)
        if head.parent_id != parent.id:
            raise WorkflowExists(name, f"there is a workflow {name!r} already, which is no part of {parent.name!r}")
        return head


def _reason(parent: Head, info: StepInfo) -> str:
    return f"step {info.position} of {parent.name!r}, {info.key}"
