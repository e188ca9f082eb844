"""awfe: persisted, sequential workflows on asyncio and SQL."""

import importlib
from typing import TYPE_CHECKING, Any

from awfe.domain.context import Context
from awfe.domain.functions import step
from awfe.domain.outcomes import ErrorInfo
from awfe.domain.records import (
    Changes,
    Diff,
    Dropped,
    Event,
    Plan,
    PlannedStep,
    Purged,
    Recovered,
    StepDiff,
    Tombstone,
    Workflow,
    WorkflowStep,
    WorkflowSummary,
)
from awfe.domain.retry import Retry
from awfe.domain.states import Cause, StepState, WorkflowState
from awfe.domain.step import BaseStep, StepLike, TransactionalStep
from awfe.domain.waits import Again, Sleep, Until, WaitFor
from awfe.errors import (
    AwfeError,
    ConfigError,
    ContextError,
    EngineNotOpen,
    ErrorState,
    InvalidInput,
    InvalidState,
    LockLost,
    SchemaOutdated,
    StepError,
    StepNotFound,
    StepTimeout,
    StoreUnavailable,
    WorkflowCorrupt,
    WorkflowError,
    WorkflowExists,
    WorkflowHalted,
    WorkflowLocked,
    WorkflowNotFound,
    WorkflowPaused,
    WorkflowStopped,
)
from awfe.settings import Settings

if TYPE_CHECKING:
    from awfe.engine import Engine
    from awfe.execution.handle import Handle
    from awfe.persistence.migrating import migrate

# These bring SQLAlchemy, which takes longer to import than all the rest: `awfe --help` does without.
_LATER = {"Engine": "awfe.engine", "Handle": "awfe.execution.handle", "migrate": "awfe.persistence.migrating"}

__version__ = "0.1.0"

__all__ = [
    "Again",
    "AwfeError",
    "BaseStep",
    "Cause",
    "Changes",
    "ConfigError",
    "Context",
    "ContextError",
    "Diff",
    "Dropped",
    "Engine",
    "EngineNotOpen",
    "ErrorInfo",
    "ErrorState",
    "Event",
    "Handle",
    "InvalidInput",
    "InvalidState",
    "LockLost",
    "Plan",
    "PlannedStep",
    "Purged",
    "Recovered",
    "Retry",
    "SchemaOutdated",
    "Settings",
    "Sleep",
    "StepDiff",
    "StepError",
    "StepLike",
    "StepNotFound",
    "StepState",
    "StepTimeout",
    "StoreUnavailable",
    "Tombstone",
    "TransactionalStep",
    "Until",
    "WaitFor",
    "Workflow",
    "WorkflowCorrupt",
    "WorkflowError",
    "WorkflowExists",
    "WorkflowHalted",
    "WorkflowLocked",
    "WorkflowNotFound",
    "WorkflowPaused",
    "WorkflowState",
    "WorkflowStep",
    "WorkflowStopped",
    "WorkflowSummary",
    "migrate",
    "step",
]


if not TYPE_CHECKING:  # to a type checker a module that has it has every name

    def __getattr__(name: str) -> Any:
        if name not in _LATER:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        found = globals()[name] = getattr(importlib.import_module(_LATER[name]), name)
        return found
