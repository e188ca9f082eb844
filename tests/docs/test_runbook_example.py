"""The runbook among the examples: it is sound, and it runs to its end."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from awfe import Engine
from awfe.runbooks import check, load
from tests.docs.pages import ROOT

EXAMPLE = ROOT / "examples" / "database_maintenance.yaml"


async def test_the_runbook_runs_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert check(EXAMPLE) == []
    name, context, steps = load(EXAMPLE).make(values={"database": "it's mine", "tables": "a b,c"})
    assert name == "maintenance-it's mine"
    async with Engine("sqlite:///awfe.db") as engine:
        await engine.create_workflow(name, context, steps)
        workflow = await engine.run(name)
    assert workflow.state == "completed"
    assert [step.name for step in workflow.steps] == [
        "prepare",
        "free space",
        "Assert",
        "backup",
        "check tables",
        "settle",
        "count runs",
        "SetContext",
        "Assert",
    ]
    assert workflow.context["summary"] == {
        "database": "it's mine",
        "tables": ["a b", "c"],
        "checked": [{"lines": "1"}, {"lines": "1"}],
        "runs": 1,
    }
    assert Path("backups/backup").read_text() == "a b\nc\n"


def test_editors_find_nothing_wrong_with_it() -> None:
    schema = json.loads((ROOT / "docs" / "runbook.schema.json").read_text())
    jsonschema.validate(yaml.safe_load(EXAMPLE.read_text()), schema)
