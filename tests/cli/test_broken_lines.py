"""Command lines that can't be taken, each with the very message that a person sees, and its exit code.

They stand in `broken_lines.txt`: what is typed after `$`, all that is printed on standard error, in brackets the
exit code.
"""

import asyncio
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from awfe import Engine, StepError
from awfe.cli.app import run
from awfe.steps import Shell

CASE = re.compile(r"^\$ (.+)\n((?:awfe: .*\n(?:(?!\$ |\[|awfe: |#).+\n)*)+)\[(\d+)\]$", re.MULTILINE)
TEXT = Path(__file__).with_name("broken_lines.txt").read_text()
LINES = {line: (told, int(code)) for line, told, code in CASE.findall(TEXT)}
BOOK = "name: w\ncontext: {n: {type: int}, mode: x}\nsteps: [{shell: 'true'}]\n"


async def _two_workflows(file: Path) -> None:
    async with Engine(f"sqlite:///{file}") as engine:
        await engine.create_workflow("w", {"n": 1}, [Shell("true")])
        await engine.create_workflow("bad", {"n": 1}, [Shell("true"), Shell("false")])
        with pytest.raises(StepError):
            await engine.run("bad")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database with a workflow that is pending and one in error."""
    file = tmp_path_factory.mktemp("made") / "awfe.db"
    asyncio.run(_two_workflows(file))
    return file


@pytest.fixture(autouse=True)
def _beside(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWFE_DATABASE_URL", "sqlite:///awfe.db")
    monkeypatch.setenv("AWFE_CONNECT_RETRY_FOR", "0")
    shutil.copy(made, "awfe.db")
    Path("book.yaml").write_text(BOOK)
    Path("broken.yaml").write_text("name: w\nsteps: [{shel: 'true'}]\n")


def test_there_are_many_cases() -> None:
    assert len(LINES) == TEXT.count("\n$ ") >= 60


@pytest.mark.parametrize("line", LINES)
def test_a_broken_line_is_told(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    wanted, code = LINES[line]
    words = shlex.split(line)
    assert run(words) == code
    told = capsys.readouterr()
    assert told.err == wanted
    assert not told.out
    # Nobody types a password twice, and none is shown.
    assert "secret" not in told.err

    assert run([*words, "--json"]) == code
    told = capsys.readouterr()
    assert not told.err
    document = json.loads(told.out)
    errors = [document["error"]] if "error" in document else [each["error"] for each in document["results"]]
    message = wanted.removeprefix("awfe: ").removesuffix("\n").partition("\nawfe: see ")[0]
    assert [each["message"] for each in errors] == [message]
    assert document["exit"] == errors[0]["exit"] == code


def test_without_a_database(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("AWFE_DATABASE_URL")
    assert run(["list"]) == 2
    assert capsys.readouterr().err == (
        "awfe: no database: give --db URL, such as sqlite:///awfe.db, or set AWFE_DATABASE_URL, "
        'or write database = "URL" into awfe.toml\n'
    )


def test_looking_makes_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        "list",
        "watch --once",
        "recover",
        "doctor",
        "db check",
        "db current",
        "run w",
        "purge --older-than 1d -y",
    ):
        run(["--db", "sqlite:///typo.db", *command.split()])
        assert "typo.db" in "".join(capsys.readouterr())
    assert not Path("typo.db").exists()
    assert run(["--db", "sqlite:///typo.db", "create", "book.yaml", "--set", "n=1"]) == 0
    assert Path("typo.db").exists()
