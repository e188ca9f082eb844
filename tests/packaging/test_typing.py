"""The wheel has types, and they find what is wrong in a program."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.conftest import ROOT, environment

PROGRAMS = ["api", "contexts"]


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A program in a place of its own: beside this source a type checker would find that."""
    copied = tmp_path / "program.py"
    copied.write_text((ROOT / f"tests/typing/{request.param}.py").read_text())
    return copied


def checked(program: Path, installed: Path, *command: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run a type checker on a program that has the wheel."""
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", *command],
        cwd=program.parent,
        # pyright would ask whether there is a newer one.
        env=environment(installed) | {"MYPYPATH": str(installed), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


def test_every_program_is_checked() -> None:
    assert sorted(path.stem for path in (ROOT / "tests/typing").glob("[!_]*.py")) == PROGRAMS


def test_mypy_finds_what_is_wrong_with_a_program(program: Path, installed: Path) -> None:
    options: list[str | Path] = ["--strict", "--config-file", os.devnull, "--cache-dir", program.parent / "cache"]
    done = checked(program, installed, "mypy", *options, program)
    assert done.stdout == "Success: no issues found in 1 source file\n", done.stdout + done.stderr


def test_pyright_finds_what_is_wrong_with_a_program(program: Path, installed: Path) -> None:
    # Where an error is wanted and there is none, the comment that would hide it is one.
    config: dict[str, Any] = {
        "include": [program.name],
        "extraPaths": [str(installed)],
        "pythonVersion": "3.11",
        "reportUnnecessaryTypeIgnoreComment": True,
    }
    (program.parent / "pyrightconfig.json").write_text(json.dumps(config))
    done = checked(program, installed, "pyright", "--pythonpath", sys.executable, "--outputjson")
    found = json.loads(done.stdout)
    assert found["generalDiagnostics"] == [], done.stdout
    assert found["summary"]["filesAnalyzed"] > 0
