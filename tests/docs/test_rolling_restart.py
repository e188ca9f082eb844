"""The example of a rolling restart, run as the program that it is."""

import subprocess
import sys
from pathlib import Path

from tests.docs.pages import ROOT

HOSTS = ("web1", "web2", "web3")


def run(directory: Path, *arguments: str) -> str:
    """Run it to its end, and return what it printed."""
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-W", "error", ROOT / "examples" / "rolling_restart.py", "--dir", directory, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def versions(directory: Path) -> list[str]:
    """Return the version that each host has."""
    return [(directory / host / "version").read_text().strip() for host in HOSTS]


def test_it_restarts_one_host_after_the_other(tmp_path: Path) -> None:
    assert run(tmp_path).splitlines()[-1] == "it waits: run this again with --approve NAME"
    assert versions(tmp_path) == ["2.0", "1.9", "1.9"]
    printed = run(tmp_path, "--approve", "ada")
    assert printed.splitlines()[-1] == "completed"
    assert printed.count(": 2.0\n") == 3
    assert "Exception" not in printed
    assert versions(tmp_path) == ["2.0"] * 3


def test_a_host_that_does_not_come_up_keeps_the_others_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "web2").mkdir()
    (tmp_path / "web2" / "broken").touch()
    assert "1 of 2 hosts failed, with max_failures=0, 1 not begun" in run(tmp_path, "--approve", "ada")
    assert versions(tmp_path) == ["2.0", "1.9", "1.9"]
    (tmp_path / "web2" / "broken").unlink()
    (tmp_path / "web1" / "broken").touch()  # done already, so that nobody looks
    assert run(tmp_path).splitlines()[-1] == "completed"
    assert versions(tmp_path) == ["2.0"] * 3
