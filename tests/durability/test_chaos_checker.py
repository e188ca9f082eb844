"""The checker of a chaos run: silent on what really happened, loud when the journal or the tables are tampered with."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from awfe import Engine, WorkflowHalted
from awfe.testing.chaos.journal import Journal, read
from awfe.testing.chaos.operators import Operators
from awfe.testing.chaos.report import Report
from awfe.testing.chaos.steps import INITIAL, Work, count_of, steps
from awfe.testing.chaos.verdict import judge

Entries = list[dict[str, Any]]
NAME = "chaos-w"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the database and the journal of what an operator did to one workflow."""
    directory = tmp_path_factory.mktemp("checker")
    Work.journal = Journal(directory / "journal")
    asyncio.run(_live(directory))
    del Work.journal
    return directory


async def _live(directory: Path) -> None:
    rng = Random(1)  # noqa: S311 - not a secret
    async with Engine(f"sqlite:///{directory}/awfe.db") as engine:
        operators = Operators(engine, Work.journal, "chaos-", count(1))
        await engine.create_workflow(NAME, INITIAL, [Work(2), Work().using(on_interrupt="rerun"), Work(nap=60), Work()])
        Work.journal.write("created", workflow=NAME)
        handle = await engine.start(NAME)
        async with asyncio.timeout(30):
            while not any(line.get("position") == 3 for line in read(Work.journal.path)):
                await asyncio.sleep(0.01)
        await operators.do("update_context", NAME, rng)
        await operators.do("stop", NAME, rng)
        with pytest.raises(WorkflowHalted):
            await handle
        for verb in ("pause", "update_context", "reset", "skip", "run"):
            await operators.do(verb, NAME, rng)
        await operators.do("reset_from", NAME, Random(4))  # noqa: S311 - not a secret
        for verb in ("skip", "skip", "run"):
            await operators.do(verb, NAME, rng)


class Case:
    """A copy of the template, to be tampered with."""

    def __init__(self, template: Path, directory: Path) -> None:
        self.directory = directory
        shutil.copytree(template, directory, dirs_exist_ok=True)
        self.entries: Entries = list(read(directory / "journal"))

    def find(self, kind: str, **about: Any) -> dict[str, Any]:
        """Return the first line of a kind."""
        return next(entry for entry in self.entries if {"kind": kind, **about}.items() <= entry.items())

    def number(self, verb: str, what: str) -> int:
        """Return the number of something that was asked."""
        found: int = self.find(what, verb=verb)["number"]
        return found

    def execute(self, sql: str, *parameters: Any) -> None:
        """Change the tables."""
        with closing(sqlite3.connect(self.directory / "awfe.db")) as connection:
            assert connection.execute(sql, parameters).rowcount > 0
            connection.commit()

    async def verdict(self) -> Report:
        """Judge what is there now."""
        path = self.directory / "journal"
        path.write_text("".join(json.dumps(entry) + "\n" for entry in self.entries))
        report = Report(database="", seed=0, processes=1, locks="dedicated")
        await judge(f"sqlite:///{self.directory}/awfe.db", path, "chaos-", report)
        print(*self.entries, *report.violations, sep="\n")
        return report


@pytest.fixture
def case(template: Path, tmp_path: Path) -> Case:
    """Return a copy of the template."""
    return Case(template, tmp_path)


async def test_what_really_happened_violates_nothing(case: Case) -> None:
    report = await case.verdict()
    assert report.violations == []
    assert (report.workflows, report.late) == (1, 0)
    assert report.verbs["update_context", "refused"] == 1
    assert {verb for verb, what in report.verbs if what == "done"} >= {"stop", "reset", "skip", "run", "reset_from"}
    assert report.acknowledged > len(report.verbs)


def _frozen(case: Case) -> None:
    """A body of an attempt that was cut off begins late, in a process that had been frozen."""
    begun = case.find("begin", position=3)
    case.entries.remove(begun)
    case.entries += [{"kind": "freeze", "pid": 1, "frozen": begun["pid"]}, begun]


async def test_a_frozen_process_may_begin_a_body_late(case: Case) -> None:
    """It can't know that it was taken over; what it does is fenced."""
    _frozen(case)
    report = await case.verdict()
    assert (report.violations, report.late) == ([], 1)


def _late(case: Case) -> None:
    _frozen(case)
    case.entries.remove(case.find("freeze"))


def _late_completed(case: Case) -> None:
    begun, ended = case.find("begin", position=1, attempt=1), case.find("end", position=1, attempt=1)
    for entry in (begun, ended):
        case.entries.remove(entry)
        case.entries.append(entry)
    case.entries.append({"kind": "freeze", "pid": 1, "frozen": begun["pid"]})


def _twice(case: Case) -> None:
    case.entries.append(case.find("begin", position=2))


def _ended_twice(case: Case) -> None:
    case.entries.append(case.find("end", position=2))


def _not_begun(case: Case) -> None:
    case.entries.remove(case.find("begin", position=2))


def _not_ended(case: Case) -> None:
    case.entries.remove(case.find("end", position=2))


def _unknown(case: Case) -> None:
    case.entries.append({**case.find("begin", position=2), "attempt": 9})


def _no_operator(case: Case) -> None:
    # As if the stopped third step had been run again by itself.
    case.execute("UPDATE awfe_event SET cause = 'body_ended' WHERE cause IN ('reset', 'reset_from')")
    columns = "workflow_id, position, run_token, outcome, before, after, started_at, ended_at, output"
    again = f"SELECT 2, 99, {columns} FROM awfe_attempt WHERE position = 3"
    case.execute(f"INSERT INTO awfe_attempt (attempt, rev, {columns}) {again}")


def _lost_verb(case: Case) -> None:
    number = case.number("update_context", "done")
    case.execute("UPDATE awfe_event SET reason = NULL WHERE reason = ?", str(number))


def _refused_but_done(case: Case) -> None:
    case.find("done", verb="update_context")["kind"] = "refused"


def _asked_by_nobody(case: Case) -> None:
    number = case.number("skip", "done")
    case.entries = [entry for entry in case.entries if entry.get("number") != number]


def _done_twice(case: Case) -> None:
    columns = "workflow_id, rev, at, cause, position, attempt, before, after, actor, reason, detail, changes"
    again = f"SELECT hex(id), {columns} FROM awfe_event WHERE cause = 'skip'"
    case.execute(f"INSERT INTO awfe_event (uid, {columns}) {again}")


def _lost_completion(case: Case) -> None:
    case.find("ran")["revision"] -= 1


def _lost_change(case: Case) -> None:
    case.find("ran")["context"]["count"] += 1


def _lost_workflow(case: Case) -> None:
    for table in ("workflow", "step", "attempt", "event"):
        case.execute(f"DELETE FROM awfe_{table}")


def _double_count(case: Case) -> None:
    case.execute("UPDATE awfe_attempt SET changes = replace(changes, '\"count\":', '\"count\":1') WHERE position = 4")


def _lost_mark(case: Case) -> None:
    case.execute("UPDATE awfe_attempt SET changes = replace(changes, 'mark1', 'mork1') WHERE position = 1")


def _lost_stage(case: Case) -> None:
    case.execute("UPDATE awfe_event SET changes = replace(changes, 'done1', 'dane1') WHERE cause = 'checkpoint'")


def _broken(case: Case) -> None:
    case.entries.append({"kind": "broke", "pid": 1, "workflow": NAME, "verb": "run", "error": "KeyError()"})


@pytest.mark.parametrize(
    ("tamper", "sentence"),
    [
        (_late, "duplicated: the body of attempt (3, 1) began after step_stopped"),
        (_late_completed, "duplicated: the body of attempt (1, 1) began after step_completed"),
        (_twice, "duplicated: the body of attempt 1 of step 2 began 2 times"),
        (_ended_twice, "duplicated: the body of attempt 1 of step 2 ended 2 times"),
        (_not_begun, "where it had not begun"),
        (_not_ended, "missing: step_completed at revision"),
        (_unknown, "lost: the body of attempt 9 of step 2 began, and no row tells of it"),
        (_no_operator, "though nobody had reset step_stopped"),
        (_lost_verb, "was acknowledged, and left nothing in the history"),
        (_refused_but_done, "was refused, and done all the same"),
        (_asked_by_nobody, "that nobody asked for"),
        (_done_twice, "was done 2 times"),
        (_lost_completion, "lost: `run` returned it completed at revision"),
        (_lost_change, "is not what the log adds up to"),
        (_lost_workflow, f"lost: {NAME!r} was acknowledged, and is not there"),
        (_double_count, "missing: its counter is"),
        (_lost_mark, "its mark in the context is None"),
        (_lost_stage, "is completed with None of 2 stages"),
        (_broken, "raised what no verb may raise: KeyError()"),
    ],
)
async def test_what_was_tampered_with_is_told(case: Case, tamper: Callable[[Case], None], sentence: str) -> None:
    tamper(case)
    report = await case.verdict()
    assert any(sentence in each for each in report.violations)


def test_the_counter_of_a_context_follows_from_its_marks() -> None:
    assert count_of({"count": 5, "done1": 3, "mark1": 2, "mark2": 1, "tried2": 7}) == 5


def test_a_seed_decides_the_steps() -> None:
    made = [[vars(step) for step in steps(Random(5))] for _ in range(2)]  # noqa: S311 - not a secret
    assert made[0] == made[1]


def test_a_report_says_what_there_is_to_know() -> None:
    report = Report(database="d", seed=1, processes=2, locks="lease", files="/there", violations=["v"] * 41)
    report.verbs.update([("run", "done"), ("run", "ask")])
    assert report.to_dict()["verbs"] == {"run": {"killed": 1, "done": 1}}
    assert "… and 1 more" in report.text()
    assert "/there" in report.text()
