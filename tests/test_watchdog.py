"""A process of pytest that hangs where its timeout does not reach is ended, and tells where; other tests go on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = """
from tests.watchdog import Watchdog

def pytest_configure(config):
    config.pluginmanager.register(Watchdog(1.0, 4.0))
"""
# The timeout is swallowed, as asyncio does with what is raised in a callback; it is over; there is none.
HANGS = {
    "a test": """
def test_hangs():
    while True:
        try:
            time.sleep(3600)
        except BaseException:
            pass
""",
    "a teardown": """
@pytest.fixture
def hangs():
    yield
    time.sleep(3600)

def test_hangs(hangs):
    time.sleep(3600)
""",
    "the end": """
def test_hangs():
    threading.Thread(target=time.sleep, args=[3600]).start()
""",
}
LASTS = """
@pytest.mark.timeout(30)
def test_lasts():
    time.sleep(8)
"""
OTHERS = """
import threading
import time
import pytest

def test_passes():
    pass
"""


@pytest.mark.parametrize("where", HANGS)
def test_what_hangs_is_ended(tmp_path: Path, where: str) -> None:
    ended = tried(tmp_path, HANGS[where])
    assert ended.returncode == 1
    assert "Timeout (0:00:0" in ended.stderr
    assert ("_shutdown" if where == "the end" else 'test_it.py"') in ended.stderr


@pytest.mark.parametrize("where", ["a test", "a teardown"])
def test_a_worker_that_hangs_is_ended_and_told_of(tmp_path: Path, where: str) -> None:
    ended = tried(tmp_path, HANGS[where], "-n1")
    assert ended.returncode == 1
    assert "crashed while running 'test_it.py::test_hangs'" in ended.stdout
    assert "1 passed" in ended.stdout


def test_a_worker_may_wait_for_another(tmp_path: Path) -> None:
    """One that is ended loses the coverage that it has measured."""
    ended = tried(tmp_path, LASTS, "-n2")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "2 passed" in ended.stdout


def tried(directory: Path, test: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a test that passes and this one."""
    (directory / "conftest.py").write_text(CONFTEST)
    (directory / "pytest.ini").write_text("[pytest]\ntimeout = 1\nasyncio_default_fixture_loop_scope = function\n")
    (directory / "test_it.py").write_text(OTHERS + test)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "PYTEST_"))}
    environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(  # noqa: S603 - the command is ours
        command, check=False, cwd=directory, env=environ, capture_output=True, text=True, timeout=60
    )
