"""What verbs may answer under chaos, and how that is written down."""

import traceback
from typing import Final

from awfe.domain.records import Workflow
from awfe.errors import EngineNotOpen, InvalidState, LockLost, StepError, WorkflowHalted, WorkflowLocked
from awfe.testing.chaos.journal import Journal

# What disturbances and operators may do to a run; anything else that a verb raises is a fault of awfe. The database is
# never away for as long as verbs wait for it.
EXPECTED: Final = (
    StepError,
    WorkflowHalted,
    WorkflowLocked,
    InvalidState,
    LockLost,
    EngineNotOpen,
)


def described(error: Exception) -> dict[str, str]:
    """Return an error as it is written down: what it is, and for those who look closer, where it came from."""
    return {"error": repr(error), "trace": "".join(traceback.format_exception(error))}


def note_completion(journal: Journal, workflow: Workflow) -> None:
    """Write down that `run` has returned a workflow."""
    about = {"state": workflow.state, "revision": workflow.revision, "context": workflow.context}
    journal.write("ran", workflow=workflow.name, **about)
