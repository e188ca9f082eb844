"""What a person is told of a runbook that can't be run: word for word, and all of it at once."""

from pathlib import Path

import pytest

from awfe import AwfeError, InvalidInput
from awfe.runbooks import RunbookInvalid, check, load
from tests.runbooks.cases import Case, cases

CASES = dict(cases())


def test_there_are_many_cases() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("name", CASES)
def test_a_broken_runbook_is_told_about(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case: Case = CASES[name]
    monkeypatch.chdir(tmp_path)
    Path(case.file).write_text(case.text)
    assert "".join(f"{problem}\n" for problem in check(case.file)) == case.messages
    with pytest.raises(RunbookInvalid) as raised:
        load(case.file)
    assert f"{raised.value}\n" == case.messages
    assert isinstance(raised.value, InvalidInput)
    assert isinstance(raised.value, AwfeError)


LARGE = "more than 100000 values, or nested deeper than 40 levels"
BELL = r"this is not YAML: the character '\x07' can't be here"


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("latin.yaml", b"name: check\ndescription: \xe9\n", "latin.yaml:2: is not UTF-8 here"),
        ("bell.yaml", b"name: check\ndescription: \a\n", f"bell.yaml:2: {BELL}"),
        ("long.yaml", b"#" * (1 << 20) + b"#", "long.yaml: is larger than 1048576 bytes, which no runbook is"),
        ("deep.toml", b"a = " + b"[" * 100_000, "deep.toml: nested deeper than 40 levels"),
        ("flat.toml", b"a = " + b"[" * 50 + b"]" * 50, f"flat.toml: {LARGE}"),
        ("directory.yaml", None, "directory.yaml: can't be read: Is a directory"),
    ],
)
def test_what_no_text_can_show(
    name: str, data: bytes | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if data is None:
        Path(name).mkdir()
    else:
        Path(name).write_bytes(data)
    assert [str(problem) for problem in check(name)] == [message]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "no.yaml"
    assert [str(problem) for problem in check(path)] == [f"{path}: can't be read: No such file or directory"]
    assert [problem.message for problem in check("a\0b.yaml")] == ["can't be read: embedded null byte"]
