"""What the exit code of a command says."""

from enum import IntEnum
from typing import Any

from awfe import errors


class Exit(IntEnum):
    """The exit codes; of several workflows the highest one counts."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    FAILED = 3
    HALTED = 4
    LOCKED = 5
    STATE = 6
    MISSING = 7


# What a shell says of a program that Ctrl-C has ended.
INTERRUPTED = 130

_OF: tuple[tuple[type[errors.AwfeError], Exit], ...] = (
    (errors.StepError, Exit.FAILED),
    (errors.WorkflowHalted, Exit.HALTED),
    (errors.WorkflowLocked, Exit.LOCKED),
    (errors.LockLost, Exit.LOCKED),
    (errors.InvalidState, Exit.STATE),
    (errors.WorkflowExists, Exit.STATE),
    (errors.WorkflowNotFound, Exit.MISSING),
    (errors.InvalidInput, Exit.USAGE),
    (errors.ConfigError, Exit.USAGE),
)


def code_of(error: BaseException) -> Exit:
    """Return the exit code of an error."""
    return next((code for kind, code in _OF if isinstance(error, kind)), Exit.ERROR)


def plain(error: BaseException) -> dict[str, Any]:
    """Return an error as `--json` shows it."""
    return {
        "type": type(error).__name__,
        "message": str(error),
        "workflow": getattr(error, "workflow", None),
        "exit": code_of(error),
    }
