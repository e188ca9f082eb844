"""A runbook: what a file says, ready to become workflows."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from awfe import checks
from awfe.domain.context import Context
from awfe.domain.step import BaseStep
from awfe.errors import InvalidInput
from awfe.runbooks.inputs import Input
from awfe.runbooks.problems import meant
from awfe.steps.templates import fill, parse


class Made(NamedTuple):
    """The arguments of `create_workflow`."""

    name: str
    context: dict[str, Any]
    steps: list[BaseStep]


@dataclass(frozen=True, slots=True)
class Runbook:
    """What a file says: a name, which may be a template, the inputs, and the steps.

    `modules` are those whose steps and functions it names: who runs the workflow in another process must name them in
    `step_modules`.
    """

    file: str
    name: str
    inputs: tuple[Input, ...]
    steps: tuple[BaseStep, ...]
    description: str | None = None
    modules: tuple[str, ...] = ()

    def make(self, name: str | None = None, values: Mapping[str, Any] | None = None) -> Made:
        """Return what to create a workflow of; a value that is a text is read as its input's type.

        Raises `InvalidInput`, which tells all that is unknown, missing or unfit, a line for each.
        """
        given = values or {}
        known = {each.name: each for each in self.inputs}
        problems = [f"{key}: {self.file} has no such input; {meant(key, known)}" for key in given if key not in known]
        context = {}
        for each in self.inputs:
            if each.name in given:
                try:
                    context[each.name] = each.convert(given[each.name])
                except InvalidInput as error:
                    problems.append(str(error))
            elif each.required:
                about = f" ({each.description})" if each.description else ""
                problems.append(f"{each.name}: is missing; give {each.wanted}{about}")
            else:
                context[each.name] = copy.deepcopy(each.default)
        if problems:
            raise InvalidInput("\n".join(problems))
        if name is None:
            name = fill(parse(self.name, "name"), Context(context))
        checks.name(name)
        return Made(name, context, list(self.steps))
