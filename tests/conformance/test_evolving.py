"""Saved workflows meet code that has gone on: what runs, what does not, and what a person is told."""

from textwrap import dedent
from typing import Any

import pytest

from awfe import Diff, Engine, InvalidInput, StepNotFound
from awfe.testing import assert_workflow
from tests.conformance.deploys import Program, program

__all__ = ["program"]

WORK = "    async def work(self, ctx): ctx[type(self).__name__] = asdict(self)"


def cls(name: str, *fields: str, of: str = "BaseStep") -> str:
    """Return the code of a step that notes its arguments."""
    return "\n".join(["@dataclass", f"class {name}({of}):", *(f"    {field}" for field in fields), WORK, ""])


@pytest.fixture
async def saved(engine: Engine, program: Program) -> Program:
    """Save a workflow `w` of the first version of a program."""
    program.deploy(cls("Build") + cls("Send", "to: str") + cls("Clean"))
    await engine.create_workflow("w", {}, [program.Build(), program.Send("ann"), program.Clean()])
    return program


def steps(program: Program, **send: Any) -> list[Any]:
    """Return the list of a later version."""
    return [program.Build(), program.Send(**send), program.Clean()]


async def test_a_class_that_was_renamed_is_found_by_its_alias(engine: Engine, saved: Program) -> None:
    old = "evolving_app:Send"
    saved.deploy(cls("Build") + cls("Post", "to: str", of=f"BaseStep, aliases=({old!r},)") + cls("Clean"))
    now = [saved.Build(), saved.Post("ann"), saved.Clean()]
    assert not await engine.diff("w", now)
    workflow = await engine.run("w")
    assert_workflow(workflow, context={"Post": {"to": "ann"}})
    assert workflow.steps[1].impl == old


async def test_without_an_alias_it_is_missed_before_anything_has_run(engine: Engine, saved: Program) -> None:
    saved.deploy(cls("Build") + cls("SendMail", "to: str") + cls("Clean"))
    with pytest.raises(StepNotFound) as missed:
        await engine.run("w")
    message = str(missed.value)
    assert message.startswith(
        "'w': no step is registered as 'evolving_app:Send'; did you mean 'evolving_app:SendMail'?"
    )
    assert "Import its module, or name it in step_modules" in message
    assert (await engine.get("w")).state == "pending"
    assert [event.cause for event in await engine.history("w")] == ["created"]


async def test_a_step_whose_class_was_removed_is_taken_out(engine: Engine, saved: Program) -> None:
    saved.deploy(cls("Build") + cls("Clean"))
    now = [saved.Build(), saved.Clean()]
    diff = await engine.diff("w", now)
    assert [(each.name, each.before, each.after) for each in diff.removed] == [("Send", 2, None)]
    assert diff.steps == diff.removed
    with pytest.raises(StepNotFound, match="no step is registered as 'evolving_app:Send'"):
        await engine.run("w")
    workflow = await engine.replace_steps("w", now, actor="ann", reason="nobody reads it")
    assert [step.name for step in workflow.steps] == ["Build", "Clean"]
    assert_workflow(await engine.run("w"), context={"Build": {}, "Clean": {}})


async def test_a_new_field_has_its_default(engine: Engine, saved: Program) -> None:
    saved.deploy(cls("Build") + cls("Send", "to: str", "subject: str = 'news'") + cls("Clean"))
    assert not await engine.diff("w", steps(saved, to="ann"))
    assert_workflow(await engine.run("w"), context={"Send": {"to": "ann", "subject": "news"}})


async def test_a_new_field_without_a_default_is_told_and_given(engine: Engine, saved: Program) -> None:
    saved.deploy(cls("Build") + cls("Send", "to: str", "subject: str") + cls("Clean"))
    with pytest.raises(StepNotFound) as missed:
        await engine.run("w")
    message = str(missed.value)
    assert message.startswith("""'w': step 2: the saved arguments {"to":"ann"} don't fit Send: """)
    assert "'subject'" in message
    assert message.endswith("give its new fields a default, or replace the step with replace_steps")
    now = steps(saved, to="ann", subject="news")
    (changed,) = (await engine.diff("w", now)).changed
    assert (changed.before, changed.after, changed.was, changed.now) == (2, 2, {}, {"subject": "news"})
    assert (await engine.replace_steps("w", now)).steps[1].args == {"to": "ann", "subject": "news"}
    assert not await engine.diff("w", now)
    assert_workflow(await engine.run("w"), context={"Send": {"to": "ann", "subject": "news"}})


async def test_a_field_that_is_gone_is_told(engine: Engine, saved: Program) -> None:
    saved.deploy(cls("Build") + cls("Send", "subject: str = 'news'") + cls("Clean"))
    with pytest.raises(StepNotFound, match=r"don't fit Send: .*'to'"):
        await engine.run("w")
    (changed,) = (await engine.diff("w", steps(saved))).changed
    assert (changed.was, changed.now) == ({"to": "ann"}, {"subject": "news"})


async def test_policies_of_a_use_are_compared_too(engine: Engine, saved: Program) -> None:
    now = [saved.Build(), saved.Send("ann").using(timeout=5), saved.Clean()]
    diff = await engine.diff("w", now)
    (changed,) = diff.changed
    assert (changed.was, changed.now) == ({}, {"using": {"timeout": 5}})
    assert str(diff) == "changed 2 → 2 Send; using: 'not there' → {'timeout': 5}"
    assert diff.to_dict()["steps"][0]["kind"] == "changed"


async def test_what_was_moved_added_and_removed_is_told_apart(engine: Engine, saved: Program) -> None:
    program = saved
    now = [program.Clean(), program.Build(), program.Send("bob"), program.Send("cid")]
    diff = await engine.diff("w", now)
    assert [str(Diff((each,))) for each in diff.steps] == [
        "reordered 3 → 1 Clean",
        "changed 2 → 3 Send; to: 'ann' → 'bob'",
        "added 4 Send",
    ]
    assert [len(each) for each in (diff.added, diff.removed, diff.changed, diff.reordered)] == [1, 0, 1, 1]
    assert diff
    assert not await engine.diff("w", steps(program, to="ann"))


async def test_what_can_not_be_saved_is_refused(engine: Engine, saved: Program) -> None:
    for verb in (engine.diff, engine.replace_steps):
        with pytest.raises(InvalidInput, match="step 2"):
            await verb("w", [saved.Build(), saved.Send(object())])
        with pytest.raises(InvalidInput, match="at least one"):
            await verb("w", [])
        with pytest.raises(InvalidInput, match="give a list of steps"):
            await verb("w", dedent("steps"))  # type: ignore[arg-type]  # what is refused
