"""The wheel, with what it needs, installs on each Python that there is, and runs a workflow."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT

VERSIONS = ["3.11", "3.12", "3.13", "3.14"]


def python(version: str) -> str:
    """Return such a Python, of the system or of pyenv; a shim of that may be there and refuse."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for program in (shutil.which(f"python{version}"), *versions.glob(f"{version}.*/bin/python")):
        command = [str(program), "-c", "import ensurepip, venv"]
        if program and not subprocess.run(command, check=False, capture_output=True).returncode:  # noqa: S603 - it was just found
            return str(program)
    pytest.skip(f"there is no Python {version} here")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("version", VERSIONS)
def test_it_installs_and_runs_a_workflow(version: str, wheel: Path, tmp_path: Path) -> None:
    """From the registry, and nothing of this environment."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(("AWFE_", "COV", "PYTHON"))}

    def run(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=others, check=False, capture_output=True, text=True)  # noqa: S603 - our own
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(python(version), "-m", "venv", "venv")
    mine = tmp_path / "venv/bin/python"
    run(mine, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    assert run(mine, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip() == version
    assert run(mine, ROOT / "examples/quickstart.py").startswith("completed {'path': '.'")
