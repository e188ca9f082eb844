"""Runbooks: workflows that are written as files, in YAML or TOML."""

from awfe.runbooks.inputs import Input
from awfe.runbooks.loading import check, load
from awfe.runbooks.problems import Problem, RunbookInvalid
from awfe.runbooks.runbook import Made, Runbook

__all__ = ["Input", "Made", "Problem", "Runbook", "RunbookInvalid", "check", "load"]
