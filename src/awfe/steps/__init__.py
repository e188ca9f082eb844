"""Steps for what runbooks do again and again; what an extra brings is imported when such a step runs."""

from awfe.domain.secret import Secret
from awfe.steps.assertion import Assert, AssertionFailed
from awfe.steps.call import Call, CallSync
from awfe.steps.each import ForEach
from awfe.steps.failed import Failed, HostFailed, HttpFailed, ManyFailed
from awfe.steps.hosts import OnHosts
from awfe.steps.http import Http
from awfe.steps.setcontext import SetContext
from awfe.steps.shell import Shell, ShellError
from awfe.steps.sql import Sql
from awfe.steps.subworkflow import SubWorkflow, SubWorkflowFailed
from awfe.steps.waiting import Approval, Delay

__all__ = [
    "Approval",
    "Assert",
    "AssertionFailed",
    "Call",
    "CallSync",
    "Delay",
    "Failed",
    "ForEach",
    "HostFailed",
    "Http",
    "HttpFailed",
    "ManyFailed",
    "OnHosts",
    "Secret",
    "SetContext",
    "Shell",
    "ShellError",
    "Sql",
    "SubWorkflow",
    "SubWorkflowFailed",
]
