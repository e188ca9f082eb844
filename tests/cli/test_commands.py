"""Each command as a process, on SQLite and on a server: what it prints, as text and as JSON, and its exit code.

A process is dear, so one life walks through all of them; none may be left out.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from awfe.cli.app import app
from tests.cli.conftest import Cli, book, use

NEED = "awfe --import tests.cli.steps"


@pytest.mark.databases("sqlite", "mysql")
@pytest.mark.timeout(600)  # it starts some seventy processes, one after the other
async def test_a_life_that_needs_every_command(awfe: Cli, tmp_path: Path) -> None:
    await the_database(awfe)
    await files(awfe, tmp_path)
    await many_at_once(awfe)
    await one_that_failed(awfe, tmp_path)
    await what_waits(awfe, tmp_path)
    await what_runs(awfe, tmp_path)
    await what_a_shutdown_left(awfe, tmp_path)
    await the_end(awfe)
    used = {(command_of(typed), "--json" in typed) for typed in awfe.typed}
    assert used == {(command, as_json) for command in commands() for as_json in (False, True)}


def commands() -> Iterator[str]:
    """Yield all that there are, those within others as two words."""
    for name in app:
        inner = [each for each in app[name] if not each.startswith("-")] if not name.startswith("-") else []
        yield from (f"{name} {each}" for each in inner)
        if not inner and not name.startswith("-"):
            yield name


def command_of(typed: tuple[str, ...]) -> str:
    """Return which command was typed."""
    return " ".join(typed[:2] if typed[0] in ("context", "db") else typed[:1])


def done(*names: str, state: str | None = None) -> Any:
    """Return what `--json` shows where all went well."""
    return {"results": [{"name": name, "ok": True, "state": state, "error": None} for name in names], "exit": 0}


async def the_database(awfe: Cli) -> None:
    assert (await awfe("db", "check", code=1)).err.endswith(" has no tables of awfe: run 'awfe db upgrade'\n")
    current = (await awfe("db", "current", "--json")).json
    assert (current["schema"], current.keys()) == (None, {"database", "schema", "needed"})
    name, needed = current["database"], current["needed"]
    doctor = json.loads((await awfe("doctor", "--json", code=1)).out)
    # Whether a server is set to lose nothing is its owner's affair.
    schema, *others = sorted((f for f in doctor["findings"] if not f["ok"]), key=lambda f: "upgrade" not in f["advice"])
    assert schema["advice"].endswith(": awfe db upgrade")
    assert (await awfe("db", "upgrade")).out == f"{name}: created schema {needed}\n"
    assert (await awfe("db", "upgrade", "--json")).json == {**current, "schema": needed}
    assert (await awfe("db", "check", "--json")).json == {**current, "schema": needed}
    assert (await awfe("db", "current")).out == f"{name}: schema {needed}; this awfe needs {needed}\n"
    assert (await awfe("doctor", code=1 if others else 0)).out.splitlines()[-1].split() == ["✓", "workflows", "none"]
    assert (await awfe("list")).out == "there is none\n"
    script = (await awfe("completion", "bash")).out
    assert script.count("restart") > 1
    assert (await awfe("completion", "bash", "--json")).json == {"shell": "bash", "script": script}


async def files(awfe: Cli, tmp_path: Path) -> None:
    good = book(tmp_path / "good.yaml", "shell: echo hi")
    wrong = book(tmp_path / "wrong.yaml", "shel: echo")
    assert (await awfe("check", good)).out == f"{good}: nothing is wrong with it\n"
    found = json.loads((await awfe("check", good, wrong, "--json", code=2)).out)
    assert [(each["file"], [one["line"] for one in each["problems"]]) for each in found["files"]] == [
        (good, []),
        (wrong, [6]),
    ]
    created = (await awfe("create", good, "--name", "a 1", "--json")).json
    assert (created["name"], created["state"], created["context"]) == ("a 1", "pending", {"disk": 3, "version": 42})
    due = await awfe("create", good, "--name", "a 2", "--at", "2000-01-01T00:00Z")
    assert due.out == "a 2: created, 1 step\n"
    assert due.err.endswith(f", and started then by: {NEED} recover\n")


async def many_at_once(awfe: Cli) -> None:
    """A line for each, and the exit code of the worst."""
    both = await awfe("run", "a *", "nope", code=7)
    assert both.out.endswith("a 1: completed\na 2: completed\n")
    assert both.err == "awfe: there is no workflow 'nope'\n"
    assert (await awfe("run", "a 1", "--json")).json == done("a 1", state="completed")
    listed = (await awfe("list", "--prefix", "a", "--limit", "1", "--json")).json["workflows"]
    assert [(each["name"], each["state"]) for each in listed] == [("a 1", "completed")]
    refused = json.loads((await awfe("pause", "a ?", "--json", code=6)).out)["results"]
    assert [(each["name"], each["error"]["type"], each["error"]["exit"]) for each in refused] == [
        ("a 1", "InvalidState", 6),
        ("a 2", "InvalidState", 6),
    ]


async def one_that_failed(awfe: Cli, tmp_path: Path) -> None:
    file = book(tmp_path / "book.yaml", use("Backup"), use("Need"), use("Need"), "shell: echo done", name="w")
    await awfe("run", file, code=3)
    lines = (await awfe("list", "--state", "error", "--state", "paused")).out.splitlines()
    assert [line.split()[:4] for line in lines] == [["NAME", "STATE", "STEP", "STARTED"], ["w", "error", "2", "Need"]]
    assert lines[1].endswith("RuntimeError: only 3 GB free")
    shown = (await awfe("show", "w", "--json")).json
    assert (shown["failed"], shown["workflow"]["steps"][1]["error"]["message"]) == (2, "only 3 GB free")
    assert [verb for verb, plan in shown["verbs"].items() if plan["allowed"]] == [
        "restart",
        "skip",
        "rollback",
        "delete",
    ]
    assert (
        (await awfe("show", "w", "--mermaid", "--json"))
        .json["mermaid"]
        .startswith('flowchart TD\n    s1["1 Backup<br/>completed"]:::completed\n    s2["2 Need<br/>error"]:::error\n')
    )
    planned = await awfe("plan", "restart", "w", "--from-step", "1", "--set", "disk=20")
    assert planned.out.startswith("restart 'w': error → completed\n  run   step 1 Backup (completed)\n")
    assert "  drop  backup (step_completed at step 1)\n" in planned.out
    assert json.loads((await awfe("plan", "run", "w", "--json", code=6)).out)["error"] == "ErrorState"

    assert (await awfe("reset", "w", "--keep-context", "--set", "disk=1")).out == "w: reset (state: paused)\n"
    await change_its_context(awfe)
    assert (await awfe("reset", "w", "--from-step", "1", code=2)).err.endswith("no terminal to ask on: add --yes\n")
    assert (await awfe("reset", "w", "--from-step", "2", "--yes", "--json")).json == done("w", state="paused")
    assert (await awfe("skip", "w", "--reason", "by hand")).out == "w: skipped (state: paused)\n"
    assert (await awfe("skip", "w", "--reason", "too", "--json")).json == done("w", state="paused")
    again = await awfe("restart", "w", "--from-step", "1", "--yes", code=3)
    assert again.err.endswith(f"RuntimeError: only 3 GB free\nawfe: see {NEED} show w\n")
    assert (await awfe("restart", "w", "--set", "disk=11", "--json")).json == done("w", state="completed")
    events = (await awfe("history", "w", "--json")).json["events"]
    assert [each["cause"] for each in events if each["actor"]] == [
        *("created", "run", "reset", "update_context", "update_context", "update_context", "update_context"),
        *("reset_from", "skip", "skip", "reset_from", "run", "reset", "run"),
    ]
    told = [line for line in (await awfe("history", "w")).out.splitlines() if " skip " in line]
    assert [line.endswith(reason) for line, reason in zip(told, (" by hand", " too"), strict=True)] == [True, True]


async def change_its_context(awfe: Cli) -> None:
    there = {"backup": "before 42", "disk": 1, "looked": True, "version": 42}
    assert (await awfe("context", "get", "w", "--json")).json == {"context": there}
    assert (await awfe("context", "set", "w", "a=[1]", "b=x")).out == "w: context changed (state: paused)\n"
    assert (await awfe("context", "set", "w", "disk=3", "--json")).json == done("w", state="paused")
    assert (await awfe("context", "unset", "w", "a", "looked")).out == "w: context changed (state: paused)\n"
    assert (await awfe("context", "unset", "w", "b", "--json")).json == done("w", state="paused")
    text = (await awfe("context", "get", "w")).out
    assert text.startswith('{\n  "')
    assert json.loads(text) == {"backup": "before 42", "disk": 3, "version": 42}


async def what_waits(awfe: Cli, tmp_path: Path) -> None:
    going = await awfe.start(
        "run",
        book(tmp_path / "x1.yaml", use("Ask"), use("Ask"), "approval: may it?", "approval: really?", name="x1"),
        book(tmp_path / "x2.yaml", "approval: no?", name="x2"),
        book(tmp_path / "x3.yaml", "approval: no?", name="x3"),
    )
    for wanted in ("x1: step 1/4 Ask waiting", "x2: step 1/1 Approval waiting", "x3: step 1/1 Approval waiting"):
        await going.until(wanted)
    said = [line.partition(" waiting after ")[2].partition(", ")[2] for line in going.out.splitlines()]
    assert {"for go; see awfe show x1", "for an approval; see awfe show x2"} < {*said}
    assert f"  {NEED} signal x1 go PAYLOAD" in (await awfe("show", "x1")).out
    asks = (await awfe("show", "x2")).out
    assert "Step 1 Approval waits; it printed, in the end:\n  | no?\n" in asks
    assert [line.split()[3] for line in asks.splitlines() if line.startswith(f"  {NEED} ")][:2] == ["approve", "reject"]
    lines = ["x1: waiting, step 1 Ask", "x2: waiting, step 1 Approval", "x3: waiting, step 1 Approval"]
    assert (await awfe("watch", "--once", "--prefix", "x")).out.splitlines() == lines
    watched = [json.loads(line) for line in (await awfe("watch", "--once", "--prefix", "x", "--json")).out.splitlines()]
    assert [(each["name"], each["state"], each["step"]) for each in watched] == [
        ("x1", "waiting", "Ask"),
        ("x2", "waiting", "Approval"),
        ("x3", "waiting", "Approval"),
    ]
    assert (await awfe("signal", "x1", "go", '{"at": 5}', "--reason", "now")).out == "x1: signal stored\n"
    await going.until("x1: step 2/4 Ask waiting")
    assert (await awfe("signal", "x1", "go", "--json")).json == done("x1")
    await going.until("x1: step 3/4 Approval waiting")
    assert (await awfe("approve", "x1", "--reason", "it may")).out == "x1: approved\n"
    await going.until("x1: step 4/4 Approval waiting")
    assert (await awfe("approve", "x1", "--json")).json == done("x1")
    assert (await awfe("reject", "x2", "--reason", "no")).out == "x2: rejected (state: error)\n"
    assert (await awfe("reject", "x3", "--json")).json == done("x3", state="error")
    assert (await going.end()).code == 3
    assert (await awfe("approve", "x1", code=6)).err.startswith("awfe: 'x1' is in state completed: approve ")


async def what_runs(awfe: Cli, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    steps = (use("Hold", file=str(first)), use("Hold", file=str(second)))
    made = [book(tmp_path / f"p{n}.yaml", *steps, name=f"p{n}") for n in (1, 2, 3)]
    going = await awfe.start("run", *made)
    for _ in made:
        await going.until("holding for first")
        going.out = ""
    assert (await awfe("pause", "p1", "--reason", "lunch")).out == "p1: will pause\n"
    assert (await awfe("pause", "p2", "p3", "--json")).json == done("p2", "p3")
    first.touch()
    paused = await going.end()
    assert (paused.code, paused.err) == (4, "".join(f"awfe: 'p{n}' is paused\n" for n in (1, 2, 3)))
    going = await awfe.start("resume", "p1", "p2")
    for _ in (1, 2):
        await going.until("holding for second")
        going.out = ""
    assert (await awfe("stop", "p1")).out == "p1: will stop\n"
    assert (await awfe("stop", "p2", "--grace", "3", "--json")).json == done("p2")
    stopped = await going.end()
    assert (stopped.code, stopped.err) == (4, "awfe: 'p1' is stopped\nawfe: 'p2' is stopped\n")
    second.touch()
    assert (await awfe("resume", "p3", "--json")).json == done("p3", state="completed")


async def what_a_shutdown_left(awfe: Cli, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    steps = (use("Hold", file=str(gate)), "shell: echo end")
    going = await awfe.start("run", book(tmp_path / "r.yaml", *steps, name="r"))
    await going.until("holding for gate")
    going.process.terminate()
    gate.touch()
    ended = await going.end()
    assert (ended.code, ended.err) == (4, "awfe: SIGTERM: pausing; `awfe recover` goes on\nawfe: 'r' is paused\n")
    taken = await awfe("recover")
    assert taken.out.startswith("r: step 2/2 Shell begins\n  | end\nr: step 2/2 Shell completed after ")
    assert taken.out.endswith("r: completed\n")
    assert (await awfe("recover", "--json")).json == {"started": [], "refused": [], "states": {}, "exit": 0}


async def the_end(awfe: Cli) -> None:
    back = await awfe("rollback", "w", "--yes", "--reason", "bad")
    assert "  | backup removed\n" in back.out
    assert back.out.endswith("w: rolled_back\n")
    assert (await awfe("rollback", "r", "--yes", "--json")).json == done("r", state="rolled_back")
    assert (await awfe("delete", "p1", "--yes", "--reason", "over")).out == "p1: deleted\n"
    assert (await awfe("delete", "p?", "--state", "stopped", "--yes", "--json")).json == done("p2")
    gone = (await awfe("purge", "--older-than", "0s", "--state", "error", "--yes")).out
    assert gone == "x2: deleted\nx3: deleted\n"
    purged = (await awfe("purge", "--older-than", "0s", "--yes", "--json", "--reason", "old")).json
    assert sorted(purged.pop("deleted")) == ["a 1", "a 2", "p3", "r", "w", "x1"]
    assert purged == {"refused": [], "exit": 0}
    assert (await awfe("list", "--deleted")).out.count(" old\n") == 6
