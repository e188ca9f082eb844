"""The wheel has types, and they find what is wrong in a program."""

import os
import subprocess
import sys
from pathlib import Path

from tests.packaging.conftest import ROOT, environment


def test_a_type_checker_finds_what_is_wrong_with_a_program(tmp_path: Path, installed: Path) -> None:
    # In a place of its own: beside this source mypy would find that.
    program = tmp_path / "program.py"
    program.write_text((ROOT / "tests/typing/api.py").read_text())
    done = subprocess.run(  # noqa: S603 - our own program
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file",
            os.devnull,
            "--cache-dir",
            tmp_path / "cache",
            program,
        ],
        cwd=tmp_path,
        env=environment(installed) | {"MYPYPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.stdout == "Success: no issues found in 1 source file\n", done.stdout + done.stderr
