"""Steps for what runbooks do again and again: `from awfe.steps import Shell`.

What an extra brings is imported when such a step runs.
"""

from awfe.domain.secret import Secret
from awfe.steps.each import ForEach
from awfe.steps.failed import Failed, HostFailed, HttpFailed
from awfe.steps.http import Http
from awfe.steps.shell import Shell, ShellError

__all__ = ["Failed", "ForEach", "HostFailed", "Http", "HttpFailed", "Secret", "Shell", "ShellError"]
