"""Steps for what runbooks do again and again: `from awfe.steps import Shell`."""

from awfe.domain.secret import Secret
from awfe.steps.assertion import Assert, AssertionFailed
from awfe.steps.call import Call, CallSync
from awfe.steps.setcontext import SetContext
from awfe.steps.shell import Shell, ShellError

__all__ = ["Assert", "AssertionFailed", "Call", "CallSync", "Secret", "SetContext", "Shell", "ShellError"]
