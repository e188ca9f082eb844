"""Command lines that can't be taken, each with the very message that a person sees, and its exit code."""

import json
from pathlib import Path

import pytest

from awfe.cli.app import run

NAMELESS = "which workflow? give a name, a pattern such as 'deploy-*', or --state"
ASK = "this needs a yes, and there is no terminal to ask on: add --yes"
STATES = "the states are pending, running, waiting, paused, stopped, error, completed, rolling_back, rolled_back"

LINES: list[tuple[str, int, str]] = [
    # what can't be parsed; a second line says where help is
    ("frob", 2, 'Unknown command "frob".'),
    ("list --frob", 2, "Unknown option: --frob."),
    ("show", 2, 'Command "show" parameter --workflow requires an argument.'),
    ("list --limit many", 2, 'Invalid value for --limit: unable to convert "many" into int.'),
    ("stop w --grace soon", 2, 'Invalid value for --grace: unable to convert "soon" into float.'),
    ("restart w --from-step one", 2, 'Invalid value for --from-step: unable to convert "one" into int.'),
    ("skip w", 2, 'Command "skip" parameter --reason requires an argument.'),
    ("signal w", 2, 'Command "signal" parameter --topic requires an argument.'),
    ("purge", 2, 'Command "purge" parameter --older-than requires an argument.'),
    ("list --db", 2, "Parameter --db requires an argument."),
    ("completion tcsh", 2, 'Invalid value "tcsh" for SHELL. Choose from: "bash", "zsh", "fish".'),
    # what is wrong before a database is asked
    ("--db sqlite:///:memory: list", 2, "an SQLite database in memory loses commits of other tasks; use a file"),
    ("--db oracle://u:secret@h/d list", 2, "'oracle' is not supported; use mysql, mariadb, postgresql, sqlite"),
    ("--db mysql://u:secret@h list", 2, "'mysql+aiomysql://u:***@h' names no database: write it like"),
    ("--db secret list", 2, "the database URL can't be read; write it like mysql://user:password@host"),
    ("--import no.such.module list", 2, "step_modules: 'no.such.module' can't be imported: ModuleNotFoundError("),
    ("skip w --reason r --set a", 2, "'a': write key=value, where value is JSON or a text"),
    ("skip w --reason r --set a=1 --set a=2", 2, "'a' is given twice"),
    ("context set w", 2, "what shall be set? give key=value"),
    ("context set w =1", 2, "'=1': write key=value, where value is JSON or a text"),
    ("context unset w", 2, "what shall be removed? give a key"),
    ("purge --older-than long --yes", 2, "'long' is no time: write it like 90s, 30m, 12h or 30d"),
    ("create book.yaml --at noon", 2, "'noon' is not a time: write it like 2030-01-31T03:00, 2030-01-31T03:00Z or +2h"),
    ("create book.yaml --at +2w", 2, "'2w' is no time: write it like 90s, 30m, 12h or 30d"),
    ("create none.yaml", 2, "none.yaml: can't be read: No such file or directory"),
    ("create book.txt", 2, "book.txt: its name must end with .yaml, .yml or .toml"),
    ("create book.yaml --set more=1", 2, "more: book.yaml has no such input; did you mean 'mode'?"),
    ("create book.yaml --set n=many", 2, "n='many': give a whole number"),
    ("create book.yaml", 2, "n: is missing; it is a int"),
    ("run book.yaml book.yaml --name w", 2, "--name and --set are for one runbook: 2 files are given"),
    ("run w --set n=1", 2, "--name and --set are for one runbook: 0 files are given"),
    ("check", 2, "what shall be checked? give a file"),
    ("list --state broken", 2, f"state='broken': {STATES}"),
    ("list --limit 0", 2, "limit=0: give a whole number above 0"),
    ("watch --interval 0", 2, "interval=0: give seconds, above 0"),
    ("plan frob w", 2, "'frob' is none of run, pause, stop, signal, approve, reject, reset, restart, skip, context"),
    # what the database knows better
    ("run", 2, NAMELESS),
    ("pause", 2, NAMELESS),
    ("show w", 7, "there is no workflow 'w'"),
    ("run nope.yaml", 7, "there is no workflow 'nope.yaml'"),
    ("stop w-*", 7, "no workflow matches 'w-*'"),
    ("delete w-* --state error", 7, "no workflow matches 'w-*' in state error"),
    ("pause --state broken", 2, f"state='broken': {STATES}"),
    ("delete w", 2, ASK),
    ("rollback w", 2, ASK),
    ("restart w --from-step 1", 2, ASK),
    ("purge --older-than 1d", 2, ASK),
    ("reset w --from-step 1 --keep-context --yes", 2, "keep_context is for the current step: from_step drops what"),
    ("create book.yaml --set n=1 --name \t", 2, "the workflow name '\\t' has a control character or a lone surrogate"),
    ("--db sqlite:///no/such/dir/x.db list", 1, "sqlite+aiosqlite:///no/such/dir/x.db: OperationalError: unable"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWFE_DATABASE_URL", "sqlite:///awfe.db")
    (tmp_path / "book.yaml").write_text("name: w\ncontext: {n: {type: int}, mode: x}\nsteps: [{shell: 'true'}]\n")


@pytest.mark.parametrize(("line", "code", "message"), LINES, ids=[line for line, _, _ in LINES])
def test_a_broken_line_is_told(line: str, code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = line.split(" ")
    assert run(words) == code
    told = capsys.readouterr()
    assert told.err.startswith(f"awfe: {message}"), told.err
    assert "secret" not in told.err.replace("--db secret", "")
    assert not told.out

    assert run([*words, "--json"]) == code
    told = capsys.readouterr()
    document = json.loads(told.out)
    errors = [document["error"]] if "error" in document else [each["error"] for each in document["results"]]
    assert errors[0]["message"].startswith(message)
    assert document["exit"] == errors[0]["exit"] == code


def test_a_line_that_can_not_be_parsed_says_where_help_is(capsys: pytest.CaptureFixture[str]) -> None:
    run(["context", "get"])
    assert capsys.readouterr().err.splitlines()[-1] == "awfe: see awfe context get --help"


def test_without_a_database(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("AWFE_DATABASE_URL")
    assert run(["list"]) == 2
    wanted = 'awfe: no database: give --db URL, or set AWFE_DATABASE_URL, or write database = "URL" into awfe.toml\n'
    assert capsys.readouterr().err == wanted
