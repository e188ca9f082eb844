"""awfe: persisted, sequential workflows on asyncio and SQL."""

from awfe.domain.context import Context
from awfe.domain.functions import step
from awfe.domain.outcomes import ErrorInfo
from awfe.domain.records import (
    Changes,
    Dropped,
    Event,
    Plan,
    PlannedStep,
    Purged,
    Recovered,
    Tombstone,
    Workflow,
    WorkflowStep,
    WorkflowSummary,
)
from awfe.domain.retry import Retry
from awfe.domain.states import Cause, StepState, WorkflowState
from awfe.domain.step import BaseStep, StepLike, TransactionalStep
from awfe.domain.waits import Again, Sleep, Until, WaitFor
from awfe.engine import Engine
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
from awfe.execution.handle import Handle
from awfe.settings import Settings

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
    "step",
]
