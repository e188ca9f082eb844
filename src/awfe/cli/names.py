"""Which workflows a command line means: names, globs, states."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeVar

from awfe import checks
from awfe.domain.records import Workflow, WorkflowSummary
from awfe.errors import AwfeError, InvalidInput, StepNotFound, WorkflowNotFound

if TYPE_CHECKING:
    from awfe import Engine

T = TypeVar("T")
# The ends of the names of runbooks.
SUFFIXES = (".yaml", ".yml", ".toml")
_PAGE = 500
_FEW = 3
_MAGIC = frozenset("*?[")


async def summaries(
    engine: "Engine", states: Sequence[str] | None = None, prefix: str = ""
) -> AsyncIterator[WorkflowSummary]:
    """Yield all workflows by name, or those in some states."""
    wanted = set(states or ())
    only = states[0] if states and len(wanted) == 1 else None
    after = None
    while page := await engine.list(only, prefix, _PAGE, after):
        for each in page:
            if not wanted or each.state in wanted:
                yield each
        after = page[-1].name


async def explained(engine: "Engine", end: T) -> T | AwfeError:
    """Return what a command came to; an error says, too, which workflows there are, or how its steps are found."""
    with suppress(AwfeError):  # an engine that is closed knows no more
        if isinstance(end, StepNotFound):
            options = " ".join(f"--import {module}" for module in unknown_modules(await engine.get(end.workflow)))
            return StepNotFound(end.workflow, f"{end}\nadd {options}")
        if isinstance(end, WorkflowNotFound) and not _MAGIC.intersection(name := end.workflow):
            near = [each.name for each in await engine.list(None, name[:1], _PAGE)]
            close = [each for each in near if each.startswith(name)][:_FEW] or get_close_matches(name, near, _FEW)
            meant = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
            file = ", and no such file" if name.endswith(SUFFIXES) else ""
            return WorkflowNotFound(name, f"{end}{file}{meant}")
    return end


def unknown_modules(workflow: Workflow) -> list[str]:
    """Return the modules of a workflow's steps that are not imported here; a name of a step's own does not tell it."""
    impls = (step.impl.partition(":") for step in workflow.steps)
    found = dict.fromkeys(module for module, colon, _ in impls if colon and module not in sys.modules)
    return list(found) or ["MODULE"]


def is_one(given: Sequence[str], states: Sequence[str] | None) -> bool:
    """Say whether a command line can only mean one workflow."""
    return len(given) == 1 and not states and _MAGIC.isdisjoint(given[0])


async def chosen(engine: "Engine", given: Sequence[str], states: Sequence[str] | None) -> list[str]:
    """Return the names that are meant, each once; raises `InvalidInput` where nothing is said.

    A pattern that no workflow matches raises `WorkflowNotFound`; states narrow patterns down. A workflow whose own
    name is the pattern is meant by it.
    """
    for each in states or ():
        checks.state(each)
    if not given and not states:
        msg = "which workflow? give a name, a pattern such as 'deploy-*', or --state"
        raise InvalidInput(msg)
    if not states and not any(_MAGIC.intersection(each) for each in given):
        return list(dict.fromkeys(given))
    known = {each.name: each.state for each in [each async for each in summaries(engine)]}
    found: dict[str, None] = {}
    for pattern in given or ("*",):
        if pattern in known or not _MAGIC.intersection(pattern):
            found[pattern] = None
            continue
        matches = [
            name for name, state in known.items() if fnmatchcase(name, pattern) and (not states or state in states)
        ]
        if not matches and given:
            msg = f"no workflow matches {pattern!r}" + (f" in state {' or '.join(states)}" if states else "")
            raise WorkflowNotFound(pattern, msg)
        found.update(dict.fromkeys(matches))
    return list(found)
