"""The examples, run as the programs that they are."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

EXAMPLES = ROOT / "examples"
SERVERS = ("app1", "app2", "app3")
# What is run for each server: it ends when it is told to, so that a test can meet it in the middle.
COMMAND = (
    'echo "$SERVER $$" >> begun; while [ -e "hold-$SERVER" ]; do sleep 0.02; done; echo "$SERVER" >> ended; echo ok'
)


class Maintenance:
    """The runbook, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.options = ["--command", COMMAND]
        self._running: list[subprocess.Popen[str]] = []

    def begin(self, *options: str) -> subprocess.Popen[str]:
        """Start it, and return at once."""
        command = [sys.executable, str(EXAMPLES / "server_maintenance.py"), "--dir", ".", *self.options, *options]
        process = subprocess.Popen(  # noqa: S603 - our own program
            command, cwd=self.directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._running.append(process)
        return process

    def run(self, *options: str, status: int = 0) -> str:
        """Run it to its end, and return what it printed."""
        process = self.begin(*options)
        printed, _ = process.communicate(timeout=30)
        assert process.returncode == status, printed
        return printed

    def hold(self, server: str) -> None:
        """Let the command for a server not end."""
        (self.directory / f"hold-{server}").touch()

    def let_go(self, server: str) -> None:
        """Let it end."""
        (self.directory / f"hold-{server}").unlink()

    def lines(self, name: str) -> list[str]:
        """Return the first word of each line that the command has written."""
        return [line.split()[0] for line in (self.directory / name).read_text().splitlines()]

    def processes(self) -> list[int]:
        """Return what runs in the directory."""
        return [int(each.parent.name) for each in Path("/proc").glob("[0-9]*/cwd") if _leads_to(each, self.directory)]

    def end(self) -> None:
        """Leave nothing behind, however the test ended."""
        for process in self._running:
            process.kill()
            process.communicate()
        for server in SERVERS:
            (self.directory / f"hold-{server}").unlink(missing_ok=True)
        self.run("--clean")


@pytest.fixture
def maintenance(tmp_path: Path) -> Iterator[Maintenance]:
    """Yield the runbook; it is cleaned up afterwards."""
    maintenance = Maintenance(tmp_path)
    yield maintenance
    maintenance.end()


def until(process: subprocess.Popen[str], line: str) -> str:
    """Read what a program prints up to a line that holds a text."""
    assert process.stdout is not None
    read = ""
    for each in process.stdout:
        read += each
        if line in each:
            return read
    raise AssertionError(read)


def test_no_example_is_forgotten() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        "aiohttp_service.py",
        "fastapi_service.py",
        "litestar_service.py",
        "quickstart.py",
        "rolling_restart.py",
        "script.py",
        "server_maintenance.py",
    }


def test_quickstart_runs_again_and_again(tmp_path: Path) -> None:
    for _ in range(2):
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-W", "error", EXAMPLES / "quickstart.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        assert re.fullmatch(r"completed \{'path': '\.', 'free_gb': \d+, 'enough': True\}\n", done.stdout)
        assert not done.stderr


def test_maintenance_runs_to_its_end_and_leaves_nothing_behind(maintenance: Maintenance) -> None:
    printed = maintenance.run()
    assert "maintenance-00001 begins" in printed
    assert re.findall(r"step (\d: \w+), attempt (\d)", printed) == [
        ("1: StopApp", "1"),
        ("2: RunCommand", "1"),
        ("3: StartApp", "1"),
        ("4: Verify", "1"),
    ]
    # Each app was stopped, and another process has taken its place.
    stopped = re.findall(r"^ +app\d: (pid \d+) is stopped", printed, re.MULTILINE)
    started = re.findall(r"^ +app\d: (pid \d+) is up", printed, re.MULTILINE)
    assert (len(stopped), len(started)) == (3, 3)
    assert re.findall(r"(pid \d+) answers", printed) == started
    assert not set(stopped) & set(started)
    assert maintenance.lines("ended") == list(SERVERS)
    assert printed.count("the demo is over") == 3
    assert maintenance.processes() == []
    assert "maintenance-00002 begins" in maintenance.run()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_maintenance_goes_on_where_it_was(maintenance: Maintenance, how: signal.Signals) -> None:
    maintenance.hold("app2")
    process = maintenance.begin()
    first = until(process, "app1: ok")
    _wait_for_line(maintenance, process, "app2")
    process.send_signal(how)
    process.wait(30)
    if how is signal.SIGKILL:
        assert maintenance.processes() != []  # the command lives on by itself: nobody knows how far it comes
    else:
        assert process.stdout is not None
        assert "Start it again to go on" in process.stdout.read()
        assert process.returncode == 130
        assert maintenance.processes() == []  # the apps are stopped, the command has been ended
    maintenance.let_go("app2")
    assert first.count("is stopped") == 3

    second = maintenance.run()
    was = "'s process has died" if how is signal.SIGKILL else " is paused"
    assert f"maintenance-00001{was}: it goes on at step 2 (RunCommand)" in second
    assert "step 1" not in second
    assert "step 2: RunCommand, attempt 2\n    app1: done already\n    app2: ok\n    app3: ok\n" in second
    assert "maintenance-00001 is completed" in second
    begun = maintenance.lines("begun")
    assert (begun.count("app1"), begun.count("app2"), begun.count("app3")) == (1, 2, 1)
    assert maintenance.processes() == []


def test_maintenance_goes_on_after_its_failure(maintenance: Maintenance) -> None:
    maintenance.options = []
    failed = maintenance.run("--command", "test -e mended", status=1)
    assert "failed at step 2 (RunCommand): RuntimeError: 'test -e mended' for app1 ended with 1" in failed
    assert "bin/demo --clean gives up" in failed
    again = maintenance.run(status=1)
    assert "'test -e mended' for app1 ended with 1" in again  # kept in the context until another one is given
    printed = maintenance.run("--command", "echo mended")
    assert "maintenance-00001 is error: it goes on at step 2 (RunCommand)" in printed
    assert printed.count(": mended\n") == 3
    assert "maintenance-00001 is completed" in printed


def test_maintenance_is_given_up(maintenance: Maintenance) -> None:
    maintenance.run("--command", "false", status=1)
    printed = maintenance.run("--clean")
    assert "maintenance-00001 is deleted" in printed
    assert maintenance.processes() == []


def test_maintenance_is_run_by_one_at_a_time(maintenance: Maintenance) -> None:
    maintenance.hold("app1")
    process = maintenance.begin()
    until(process, "step 2")
    second = maintenance.run(status=1)
    assert "'maintenance-00001' is running in " in second
    assert "Start it again" not in second
    maintenance.let_go("app1")
    assert process.wait(30) == 0


def test_maintenance_says_that_its_directory_cannot_be_made(maintenance: Maintenance) -> None:
    (maintenance.directory / "file").touch()
    assert maintenance.run("--dir", "file/below", status=1) == "--dir file/below: Not a directory\n"


def _wait_for_line(maintenance: Maintenance, process: subprocess.Popen[str], word: str) -> None:
    while process.poll() is None and word not in maintenance.lines("begun"):
        time.sleep(0.01)


def _leads_to(link: Path, directory: Path) -> bool:
    try:
        return link.readlink() == directory
    except OSError:  # it has ended, or is not ours
        return False
