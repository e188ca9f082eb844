"""Every error that awfe raises.

AwfeError
├── WorkflowError                    one workflow can't do that: `.workflow` is its name
│   ├── WorkflowExists
│   ├── WorkflowNotFound
│   ├── WorkflowLocked               somebody runs it: the message says where
│   ├── InvalidState                 the verb is not allowed in this state
│   │   └── ErrorState               it waits for an operator: reset, skip or edit it first
│   ├── WorkflowHalted               the run ended before the workflow did: `.state`
│   │   ├── WorkflowPaused
│   │   └── WorkflowStopped
│   ├── StepError                    a step failed: `.step`, `.position`; the cause is `__cause__`
│   │   └── StepTimeout
│   ├── StepNotFound                 a saved step has no class here
│   ├── WorkflowCorrupt              what the tables say about it can't be
│   └── LockLost                     another runner has taken over
├── InvalidInput (ValueError)        a name, a step or an argument
│   └── ContextError                 a value that the context can't keep: the message has its path
├── ConfigError                      a setting or a database URL
├── EngineNotOpen
├── StoreUnavailable                 the database did not answer, or refused for good
└── SchemaOutdated                   the tables are of another version of awfe
"""


class AwfeError(Exception):
    """The root of all errors that awfe raises."""


class WorkflowError(AwfeError):
    """An error about one workflow, whose name is in `workflow`."""

    def __init__(self, workflow: str, message: str) -> None:
        """Keep the workflow's name beside the message."""
        super().__init__(workflow, message)
        self.workflow = workflow
        self.message = message

    def __str__(self) -> str:
        """Return the message alone."""
        return self.message


class WorkflowExists(WorkflowError):
    """A workflow of that name exists already."""


class WorkflowNotFound(WorkflowError):
    """There is no workflow of that name."""


class WorkflowLocked(WorkflowError):
    """The workflow is being run, or the body of one of its steps is still alive."""


class InvalidState(WorkflowError):
    """The verb is not allowed in the state that the workflow is in."""


class ErrorState(InvalidState):
    """The workflow can't run before somebody has decided how it goes on."""


class WorkflowHalted(WorkflowError):
    """The run ended before the workflow was completed, because somebody asked for it."""

    state = "halted"


class WorkflowPaused(WorkflowHalted):
    """The workflow is paused: `run` goes on with it."""

    state = "paused"


class WorkflowStopped(WorkflowHalted):
    """The workflow was stopped, perhaps in the middle of a step."""

    state = "stopped"


class StepError(WorkflowError):
    """A step failed for good; the exception it raised is the `__cause__`."""

    def __init__(self, workflow: str, message: str, step: str = "", position: int = 0) -> None:
        """Keep which step it was; `position` counts from 1."""
        super().__init__(workflow, message)
        self.args = (workflow, message, step, position)
        self.step = step
        self.position = position


class StepTimeout(StepError):
    """An attempt of a step took longer than its `timeout`, and no retry was left."""


class StepNotFound(WorkflowError):
    """A saved step names a class that is not registered in this process."""


class WorkflowCorrupt(WorkflowError):
    """What the tables say about the workflow can't be: somebody changed them, or they are damaged.

    Nothing is imported or run for it. `delete` removes it all the same, when nobody runs it.
    """


class LockLost(WorkflowError):
    """Another runner has taken the workflow over; nothing more was written by this one."""


class InvalidInput(AwfeError, ValueError):
    """A name, a step or an argument can't be taken; nothing was written."""


class ContextError(InvalidInput):
    """A value can't be kept in a context; the message names its path."""


class ConfigError(AwfeError):
    """A setting or a database URL is wrong."""


class EngineNotOpen(AwfeError):
    """The engine is not open yet, or is closing."""


class StoreUnavailable(AwfeError):
    """The database can't be reached, or refused a statement for good; the cause is `__cause__`."""


class SchemaOutdated(AwfeError):
    """The tables in the database belong to another version of awfe."""
