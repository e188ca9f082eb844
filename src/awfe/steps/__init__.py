"""Steps that most runbooks need. What an extra brings is imported when such a step runs."""

from awfe.steps.each import ForEach
from awfe.steps.failed import Failed, HostFailed, HttpFailed
from awfe.steps.hosts import OnHosts
from awfe.steps.http import Http

__all__ = ["Failed", "ForEach", "HostFailed", "Http", "HttpFailed", "OnHosts"]
