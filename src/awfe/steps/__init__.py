"""Steps for what runbooks do again and again: `from awfe.steps import Shell`."""

from awfe.domain.secret import Secret
from awfe.steps.shell import Shell, ShellError

__all__ = ["Secret", "Shell", "ShellError"]
