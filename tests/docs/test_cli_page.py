"""The page of the command line names every command, what each prints for programs, and what each exit code means."""

import re
from pathlib import Path
from typing import Any

import pytest

from awfe import Event, Plan, Workflow, WorkflowStep, WorkflowSummary, errors
from awfe.cli.exits import Exit, code_of
from awfe.domain.records import Tombstone
from tests.cli.test_commands import commands

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
# What programs read. Names may be added here, and none is ever taken away: that would break those programs.
KEPT: dict[type[Any], str] = {
    Workflow: "name state context initial_context steps position request created_at scheduled_at started_at ended_at "
    "revision",
    WorkflowStep: "position name impl args state attempt started_at ended_at changes output error due_at signal",
    WorkflowSummary: "name state position step request error created_at started_at ended_at",
    Event: "workflow at cause step attempt before after actor reason changes error",
    Plan: "workflow verb state leads_to allowed why_not error steps context dropped",
    Tombstone: "name deleted_at actor reason",
}  # fmt: skip


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table after a heading."""
    after = PAGE.split(f"\n## {heading}\n")[1]
    table = re.search(r"(?:^\|.*\n?)+", after, re.MULTILINE)
    assert table is not None
    # A | within a cell is written \|.
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in table[0].splitlines()[2:]]


@pytest.mark.parametrize("heading", ["Commands", "For programs: `--json`"])
def test_every_command_is_there(heading: str) -> None:
    named = [text for row in rows(heading) for text in re.findall(r"`([^`]+)`", row[0])]
    assert [each for each in commands() if not any(re.match(rf"{each}\b", text) for text in named)] == []


def test_every_exit_code_is_there_and_says_what_it_means() -> None:
    table = {int(row[0]): re.findall(r"`(\w+)`", row[2]) for row in rows("Exit codes")}
    assert table.keys() == {*Exit, 130}
    for code, named in table.items():
        kinds = [getattr(errors, each) for each in named if hasattr(errors, each)]
        assert {code_of(kind.__new__(kind)) for kind in kinds} <= {code}
    listed = {each for named in table.values() for each in named}
    raised = {kind.__name__ for kind in vars(errors).values() if isinstance(kind, type) and not kind.__subclasses__()}
    # What programs meet only: an engine that is not open, and what is said by a wider name.
    assert raised - listed - {"EngineNotOpen", "ContextError", "StepTimeout"} == set()


@pytest.mark.parametrize("record", KEPT)
def test_fields_are_neither_renamed_nor_removed(record: type[Any]) -> None:
    assert set(KEPT[record].split()) <= set(record.__struct_fields__)
