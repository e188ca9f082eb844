"""Each command as a process: what it prints, as text and as JSON, and its exit code."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, book, use

# Each starts many processes, one after the other.
pytestmark = [pytest.mark.databases("sqlite"), pytest.mark.timeout(300)]


async def test_lists_and_bulk_verbs(awfe: Cli, tmp_path: Path) -> None:
    await awfe("db", "upgrade")
    assert (await awfe("list")).out == "there is none\n"
    good = book(tmp_path / "good.yaml", "shell: echo hi")
    bad = book(tmp_path / "bad.yaml", use("Need"), name="bad")
    created = (await awfe("create", good, "--name", "a 1", "--json")).json
    assert (created["name"], created["state"], created["context"]) == ("a 1", "pending", {"disk": 3, "version": 42})
    await awfe("create", good, "--name", "a 2", "--at", "2000-01-01T00:00Z")
    assert (await awfe("create", good, "--name", "a 2", code=6)).err == (
        "awfe: there is a workflow 'a 2' already; "
        "go on with it: awfe --import tests.cli.steps run 'a 2', or give another --name\n"
    )
    await awfe("run", bad, code=3)

    # Several at once: a line for each, and the exit code of the worst.
    both = await awfe("run", "a *", "bad", "nope", code=7)
    assert both.out.endswith("a 1: completed\na 2: completed\n")
    assert (
        both.err
        == (
            "awfe: there is no workflow 'nope'\n"
            "awfe: 'bad' is in state error: run is allowed in pending, waiting, paused, completed, stopped; "
            "mend the cause, then restart, reset or skip its step\n"
        )
        or "awfe: 'bad' is in state error: run is allowed in" in both.err
    )
    listed = (await awfe("list", "--json")).json["workflows"]
    assert [(each["name"], each["state"]) for each in listed] == [
        ("a 1", "completed"),
        ("a 2", "completed"),
        ("bad", "error"),
    ]
    lines = (await awfe("list", "--state", "error", "--state", "paused")).out.splitlines()
    assert [line.split()[:4] for line in lines] == [["NAME", "STATE", "STEP", "STARTED"], ["bad", "error", "1", "Need"]]
    assert lines[1].endswith("RuntimeError: only 3 GB free")
    assert len((await awfe("list", "--prefix", "a", "--limit", "1", "--json")).json["workflows"]) == 1

    skipped = (await awfe("skip", "--state", "error", "--reason", "no disk here", "--json")).json
    assert skipped["results"] == [{"name": "bad", "ok": True, "state": "completed", "error": None}]
    refused = await awfe("pause", "a ?", "--json", code=6)
    results = json.loads(refused.out)["results"]
    assert [(each["name"], each["error"]["type"], each["error"]["exit"]) for each in results] == [
        ("a 1", "InvalidState", 6),
        ("a 2", "InvalidState", 6),
    ]
    purged = (await awfe("purge", "--older-than", "0s", "--yes", "--json", "--reason", "old")).json
    assert purged == {"deleted": ["a 1", "a 2", "bad"], "refused": [], "exit": 0}
    assert (await awfe("list", "--deleted")).out.count(" old\n") == 3


async def test_plans_resets_and_restarts(awfe: Cli, tmp_path: Path) -> None:
    file = book(tmp_path / "book.yaml", use("Backup"), use("Need"), "shell: echo done", name="w")
    await awfe("run", file, code=3)
    shown = await awfe("show", "w", "--json")
    assert shown.json["failed"] == 2
    assert shown.json["workflow"]["steps"][1]["error"]["message"] == "only 3 GB free"
    verbs = shown.json["verbs"]
    assert [verb for verb in verbs if verbs[verb]["allowed"]] == ["restart", "skip", "rollback", "delete"]
    assert (await awfe("show", "w", "--mermaid")).out.startswith(
        'flowchart TD\n    s1["1 Backup<br/>completed"]:::completed\n    s2["2 Need<br/>error"]:::error\n'
    )

    planned = await awfe("plan", "restart", "w", "--from-step", "1", "--set", "disk=20")
    assert planned.out.startswith("restart 'w': error → completed\n  run   step 1 Backup (completed)\n")
    assert "  drop  backup (step_completed at step 1)\n" in planned.out
    refused = await awfe("plan", "run", "w", "--json", code=6)
    assert json.loads(refused.out)["error"] == "ErrorState"
    assert (await awfe("plan", "pause", "nope", code=7)).err == "awfe: there is no workflow 'nope'\n"

    assert (await awfe("reset", "w", "--keep-context", "--set", "disk=1")).out == "w: reset (state: paused)\n"
    assert (await awfe("context", "get", "w", "--json")).json == {
        "context": {"backup": "before 42", "disk": 1, "looked": True, "version": 42}
    }
    assert (await awfe("context", "unset", "w", "looked", "--json")).json["results"][0]["state"] == "paused"
    text = (await awfe("context", "get", "w")).out
    assert text.startswith('{\n  "')
    assert json.loads(text) == {"backup": "before 42", "disk": 1, "version": 42}
    assert (await awfe("reset", "w", "--from-step", "1", code=2)).err.endswith("no terminal to ask on: add --yes\n")
    again = await awfe("restart", "w", "--from-step", "1", "--set", "disk=11", "--yes", "--json")
    assert again.json == {"results": [{"name": "w", "ok": True, "state": "completed", "error": None}], "exit": 0}


async def test_waits_signals_and_approvals(awfe: Cli, tmp_path: Path) -> None:
    file = book(tmp_path / "book.yaml", use("Ask"), "approval: may it?", "approval: really?", name="w")
    going = await awfe.start("run", file)
    await going.until("step 1/3 Ask waiting")
    assert "  awfe --import tests.cli.steps signal w go PAYLOAD" in (await awfe("show", "w")).out
    watched = await awfe("watch", "--once", "--json")
    assert (watched.json["name"], watched.json["state"]) == ("w", "waiting")
    assert (await awfe("signal", "w", "go", '{"at": 5}', "--reason", "now")).out == "w: signal stored\n"
    await going.until("step 2/3 Approval waiting")
    assert (await awfe("approve", "w", "--reason", "it may")).out == "w: approved\n"
    await going.until("step 3/3 Approval waiting")
    assert (await awfe("reject", "w", "--json")).json["results"][0]["state"] == "error"
    assert (await going.end()).code == 3
    assert (await awfe("approve", "w", code=6)).err.startswith("awfe: 'w' ")


async def test_the_database(awfe: Cli, tmp_path: Path) -> None:
    assert (await awfe("db", "check", code=1)).err.endswith("has no tables of awfe: run 'awfe db upgrade'\n")
    current = (await awfe("db", "current", "--json")).json
    assert current["schema"] is None
    doctor = json.loads((await awfe("doctor", "--json", code=1)).out)
    assert [each["advice"] for each in doctor["findings"] if not each["ok"]] == [
        "there is no such file; create it: awfe db upgrade"
    ]
    assert (await awfe("db", "upgrade")).out.endswith(f": created schema {current['needed']}\n")
    assert (await awfe("db", "check", "--json")).json["schema"] == current["needed"]
    assert (await awfe("doctor")).out.splitlines()[-1].split() == ["✓", "workflows", "none"]
    book(tmp_path / "wrong.yaml", "shel: echo")
    found = await awfe("check", str(tmp_path / "wrong.yaml"), "--json", code=2)
    (problem,) = json.loads(found.out)["files"][0]["problems"]
    assert problem["line"] == 6
    assert (await awfe("completion", "bash")).out.count("restart") > 1


async def test_takes_up_what_a_terminated_run_left(awfe: Cli, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    going = await awfe.start(
        "run", book(tmp_path / "book.yaml", use("Hold", file=str(gate)), "shell: echo end", name="w")
    )
    await going.until("holding for gate")
    going.process.terminate()
    gate.touch()
    ended = await going.end()
    assert (ended.code, ended.err) == (4, "awfe: SIGTERM: pausing; `awfe recover` goes on\nawfe: 'w' is paused\n")
    taken = await awfe("recover")
    assert taken.out.startswith("w: step 2/2 Shell begins\n  | end\nw: step 2/2 Shell completed after ")
    assert taken.out.endswith("w: completed\n")
    assert (await awfe("recover", "--json")).json == {"started": [], "refused": [], "states": {}, "exit": 0}
