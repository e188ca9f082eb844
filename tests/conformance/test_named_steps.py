"""Steps that have names of their own in a workflow."""

from pathlib import Path

import pytest

from awfe import Engine, InvalidInput, StepError
from awfe.runbooks import load
from awfe.steps import Shell, SubWorkflow
from tests.databases import Database

RUNBOOK = """
name: named
steps:
  - name: greet
    shell: echo hello
  - subworkflow: child
    steps:
      - name: inner
        shell: echo inner
  - name: fail
    shell: exit 3
"""


async def test_names_are_seen_wherever_steps_are(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "named.yaml"
    path.write_text(RUNBOOK)
    async with Engine(database.url) as engine:
        name, context, steps = load(path).make()
        await engine.create_workflow(name, context, steps)
        with pytest.raises(StepError, match=r"'named' failed at step 3 \(fail\)"):
            await engine.run("named")
        workflow = await engine.get("named")
        assert [step.name for step in workflow.steps] == ["greet", "SubWorkflow", "fail"]
        assert [step.name for step in (await engine.get("child")).steps] == ["inner"]
        assert [each.step for each in await engine.list(name_prefix="named")] == ["fail"]
    async with Engine(database.url) as other:
        with pytest.raises(StepError, match=r"step 3 \(fail\)"):
            await other.restart("named", reason="once more")


async def test_a_name_is_kept_with_policies_and_inside_of_other_steps() -> None:
    step = Shell("true").using(timeout=3).named("wait").using(on_error="skip")
    outer = SubWorkflow("child", [step])
    assert outer.steps[0]["name"] == "wait"
    assert SubWorkflow("child", outer.steps).steps == outer.steps
    for name in ("", "a\nb", "a" * 201, 3):
        with pytest.raises(InvalidInput, match=r"give a name of 1 to 200 printable characters"):
            step.named(name)  # type: ignore[arg-type]  # that is what is tried
