"""Commands that take a runbook: a file that becomes a workflow, or is only checked."""

import shlex
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from awfe.cli import looks, names, values
from awfe.cli.exits import Exit
from awfe.cli.seat import Here, Reason, Seat, Sets
from awfe.errors import InvalidInput, WorkflowExists

if TYPE_CHECKING:
    from awfe.domain.records import Workflow
    from awfe.engine import Engine
    from awfe.runbooks import Made, Runbook

Name = Annotated[str | None, Parameter(name="--name", help="The workflow's name; else the one that the file gives.")]


def is_file(word: str) -> bool:
    """Say whether a word of a command line is a runbook, and not the name of a workflow."""
    return word.endswith(names.SUFFIXES) and Path(word).is_file()


def make(seat: Seat, file: str, name: str | None, sets: Sequence[str]) -> "tuple[Made, Seat]":
    """Read a runbook, and return the workflow that it makes, and a seat whose commands know its steps.

    Raises `InvalidInput`, with all that is wrong.
    """
    given = values.texts(sets)
    seat.reach_modules()
    runbook: Runbook = _runbooks().load(file)
    try:
        return runbook.make(name, given), seat.importing(runbook.modules)
    except InvalidInput as error:
        if not (missing := [each.name for each in runbook.inputs if each.required and each.name not in given]):
            raise
        msg = f"{error}\nadd {' '.join(f'--set {shlex.quote(each)}=…' for each in missing)}"
        raise InvalidInput(msg) from error


def _runbooks() -> Any:
    """Return what only these commands need: it brings SQLAlchemy, which `awfe --help` does without."""
    return import_module("awfe.runbooks")


async def save(engine: "Engine", seat: Seat, made: "Made", reason: str | None, at: str | None = None) -> "Workflow":
    """Create the workflow of a runbook."""
    try:
        return await engine.create_workflow(*made, at=values.when(at), **seat.by(reason))
    except WorkflowExists as error:
        msg = f"{error}; go on with it: {seat.command('run', made.name)}, or give another --name"
        raise WorkflowExists(made.name, msg) from error


async def create(
    file: str,
    *,
    name: Name = None,
    set_: Sets = None,
    at: Annotated[str | None, Parameter(help="When `recover` starts it: 2030-01-31T03:00, or +2h.")] = None,
    reason: Reason = None,
    seat: Here,
) -> Exit:
    """Create a workflow of a runbook, a file of YAML or TOML."""
    values.when(at)
    made, seat = make(seat, file, name, set_ or ())
    async with seat.engine(creates=True) as engine:
        workflow = await save(engine, seat, made, reason, at)
    if seat.out.as_json:
        seat.out.document(workflow.to_dict())
    else:
        steps = len(workflow.steps)
        seat.out.line(f"{workflow.name}: created, {steps} step{'s' if steps > 1 else ''}")
        if at is None:
            seat.out.hint(seat.command("run", workflow.name), "run it:")
        else:
            due = looks.moment(workflow.scheduled_at)
            seat.out.hint(seat.command("recover"), f"it is due at {due}, and started then by:")
    return Exit.DONE


async def check(*files: str, seat: Here) -> Exit:
    """Find all that is wrong with runbooks without running them; it imports the modules that they name."""
    if not files:
        msg = "what shall be checked? give a file"
        raise InvalidInput(msg)
    seat.reach_modules()
    found = {file: _runbooks().check(file) for file in files}
    code = Exit.USAGE if any(found.values()) else Exit.DONE
    if seat.out.as_json:
        listed = [
            {
                "file": file,
                "problems": [{"line": each.line, "key": each.key, "message": each.message} for each in problems],
            }
            for file, problems in found.items()
        ]
        seat.out.document({"files": listed, "exit": code})
        return code
    for file, problems in found.items():
        for each in problems or (f"{file}: nothing is wrong with it",):
            seat.out.line(str(each))
    return code
