"""A night of an operator: create from a file, run, a step fails, look, mend, go on, pause, stop, skip, roll back."""

import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, book, use

NAME = "release 42"
ADA = ("--actor", "ada@desk")


@pytest.mark.databases("sqlite", "mysql")
@pytest.mark.timeout(300)  # it starts eighteen processes, one after the other
async def test_a_night_of_an_operator(awfe: Cli, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    file = book(
        tmp_path / "release.yaml",
        "shell: echo hello {version}",
        use("Backup"),
        use("Need"),
        use("Hold", file=str(first)),
        use("Hold", file=str(second)),
        "shell: echo bye",
    )

    created = await awfe("create", file, "--set", "version=42", *ADA, "--reason", "ticket 7")
    assert created.out == "release 42: created, 6 steps\n"
    assert created.err == "awfe: run it: awfe --import tests.cli.steps run 'release 42'\n"

    failed = await awfe("run", NAME, *ADA, code=3)
    assert "release 42: step 1/6 Shell begins\n  | hello 42\nrelease 42: step 1/6 Shell completed after" in failed.out
    assert "release 42: step 3/6 Need error after" in failed.out
    assert failed.err == (
        "awfe: 'release 42' failed at step 3 (Need): RuntimeError: only 3 GB free\n"
        "awfe: see awfe --import tests.cli.steps show 'release 42'\n"
    )

    shown = (await awfe("show", NAME)).out
    for part in (
        "release 42  error\n",
        "3  Need    ✗ error      1",
        '  backup = "before 42"\n',
        "\nStep 3 Need failed, attempt 1, ",
        "  RuntimeError: only 3 GB free\n",
        "steps.py",
        "    looked = true\n",
        "  | looking at the disk\n",
        "runs steps 3 to 6 → completed\n",
        "undoes step 2 → rolled_back\n",
    ):
        assert part in shown, shown
    offered = [shlex.split(line)[1:] for line in shown.splitlines() if line.startswith("  awfe ")]
    verbs = [words[2] for words in offered]
    assert verbs == ["restart", "restart", "context", "skip", "rollback", "delete", "plan"]

    assert (
        await awfe("context", "set", NAME, "disk=50", *ADA, "--reason", "removed logs")
    ).out == "release 42: context changed (state: error)\n"
    going = await awfe.start("restart", NAME, *ADA, "--reason", "mended")
    await going.until("holding for first")
    assert (await awfe("pause", NAME, "--actor", "grace", "--reason", "lunch")).out == "release 42: will pause\n"
    assert (await awfe("delete", NAME, "--yes", code=5)).err.startswith("awfe: 'release 42' is running in ")
    first.touch()
    paused = await going.end()
    assert (paused.code, paused.err) == (4, "awfe: 'release 42' is paused\n")

    going = await awfe.start("resume", NAME, *ADA)
    await going.until("holding for second")
    assert (await awfe("stop", NAME, "--json", "--actor", "grace")).json["results"][0]["ok"]
    stopped = await going.end()
    assert (stopped.code, stopped.err) == (4, "awfe: 'release 42' is stopped\n")

    skipped = await awfe("skip", NAME, "--reason", "did it by hand", "--set", "by_hand=true", *ADA, "--json")
    assert skipped.json == {"results": [{"name": NAME, "ok": True, "state": "paused", "error": None}], "exit": 0}
    assert (await awfe("context", "get", NAME, "by_hand", "backup")).out == 'true\n"before 42"\n'

    refused = await awfe("rollback", NAME, code=2)
    assert refused.err == "awfe: this needs a yes, and there is no terminal to ask on: add --yes\n"
    back = await awfe("rollback", NAME, "--yes", *ADA, "--reason", "the release is bad")
    assert "  | backup removed\n" in back.out
    assert back.out.endswith("release 42: rolled_back\n")

    events = (await awfe("history", NAME, "--json")).json["events"]
    told = [(each["cause"], each["actor"], each["reason"]) for each in events if each["actor"]]
    assert told == [
        ("created", "ada@desk", "ticket 7"),
        ("run", "ada@desk", None),
        ("update_context", "ada@desk", "removed logs"),
        ("reset", "ada@desk", "mended"),
        ("run", "ada@desk", "mended"),
        ("pause", "grace", "lunch"),
        ("run", "ada@desk", None),
        ("stop", "grace", None),
        ("skip", "ada@desk", "did it by hand"),
        ("rollback", "ada@desk", "the release is bad"),
    ]
    text = (await awfe("history", NAME)).out
    assert "removed logs; disk=50" in text
    assert "RuntimeError: only 3 GB free; looked=true" in text

    assert (await awfe("delete", NAME, "--yes", *ADA, "--reason", "over")).out == "release 42: deleted\n"
    (tombstone,) = (await awfe("list", "--deleted", "--json")).json["deleted"]
    assert (tombstone["name"], tombstone["actor"], tombstone["reason"]) == (NAME, "ada@desk", "over")
