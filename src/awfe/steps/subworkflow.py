"""A step that is a workflow of its own."""

from dataclasses import dataclass, field
from typing import Any, Final

from awfe import checks
from awfe.domain.context import Context
from awfe.domain.records import Workflow
from awfe.domain.states import ENDED, StepState, WorkflowState
from awfe.domain.step import BaseStep
from awfe.domain.values import check_key, encode
from awfe.domain.waits import Again
from awfe.errors import InvalidInput
from awfe.steps import nested
from awfe.steps.failed import Failed
from awfe.steps.templates import fill, parse

# Its end is told by a signal; this is for one that was lost with a parent that somebody had changed by SQL.
_LOOK: Final = 300.0
# It begins in the background, which a crash or a database that is away may keep it from: then it is begun again.
_BEGUN: Final = 10.0
_OVER: Final = (*ENDED, WorkflowState.ERROR, WorkflowState.STOPPED)


class SubWorkflowFailed(Failed):
    """A workflow that a step has begun did not come to its end; it can be mended in place."""

    __module__ = "awfe.steps"  # from where it is imported


@dataclass
class SubWorkflow(BaseStep, name="awfe.SubWorkflow"):
    """Run steps as a workflow of its own, which can be seen and steered by its name, a template.

    It begins with `context`, or where that is None with a copy of the parent's; with `save_as` what it ends with is set
    under that key. While it runs the parent waits, and holds nothing. Where it fails or is stopped the step fails:
    mend it in place, run it, then restart the step. A stop of the parent stops it, a rollback rolls it back. A step
    that was reset by `from_step` begins another, whose name ends with a mark. Raises `InvalidInput`.
    """

    name: str
    steps: list[Any]
    context: dict[str, Any] | None = field(default=None, kw_only=True)
    save_as: str | None = field(default=None, kw_only=True)
    # It finds what it has begun.
    on_interrupt = "rerun"

    def __post_init__(self) -> None:
        """Keep the steps as they are saved."""
        parse(self.name, "name")
        self.steps = [nested.saved(each) for each in checks.steps(self.steps)]
        if self.context is not None:
            encode(self.context, "context", InvalidInput)
        if self.save_as is not None:
            check_key(self.save_as, "save_as", InvalidInput)

    async def work(self, ctx: Context) -> Again | None:
        """Begin it, or look what became of it."""
        context = dict(ctx) if self.context is None else self.context
        steps = [nested.load(each) for each in self.steps]
        child: Workflow = await ctx.child(self._named(ctx), context, steps)
        if child.state not in _OVER:
            return Again(_BEGUN if child.state is WorkflowState.PENDING else _LOOK, "awfe.child")
        if child.state is not WorkflowState.COMPLETED:
            raise SubWorkflowFailed(_what_of(child))
        if self.save_as is not None:
            ctx[self.save_as] = child.context
        return None

    async def undo(self, ctx: Context) -> None:
        """Roll it back."""
        await ctx.undo_child(self._named(ctx))

    def _named(self, ctx: Context) -> str:
        return fill(parse(self.name, "name"), ctx)


def _what_of(child: Workflow) -> str:
    failed = [step for step in child.steps if step.state in (StepState.ERROR, StepState.INTERRUPTED)]
    where = f" at step {failed[0].position} ({failed[0].name})" if failed else ""
    why = f": {failed[0].error.first_line}" if failed and failed[0].error is not None else ""
    return f"{child.name!r} is {child.state}{where}{why}; mend and run it, then restart this step"
