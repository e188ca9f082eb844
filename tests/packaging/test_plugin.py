"""The plugin for pytest, as somebody has it who installed awfe: pytest finds it by itself."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from awfe.testing.conformance import CHECKS
from tests.docs.pages import DOCS, blocks
from tests.packaging.conftest import environment

STEPS = """
from awfe import BaseStep, Sleep


class Rest(BaseStep):
    async def work(self, ctx):
        ctx["rested"] = True
        return Sleep(3 * 86_400)
"""

USES = """
from datetime import timedelta

import pytest

from awfe.testing import assert_workflow
from steps import Rest


async def test_engine(engine):
    assert str(engine).count("awfe.db") == 1
    assert engine.settings.max_running == 3
    workflow = await engine.create_workflow("w", {}, [Rest])
    assert_workflow(workflow, "pending", context={})


async def test_each_test_has_its_own(engine):
    assert await engine.list() == []


async def test_clock(engine, clock):
    await engine.create_workflow("w", {}, [Rest])
    workflow = await engine.run("w")
    assert workflow.ended_at - workflow.started_at == timedelta(days=3)
    assert_workflow(workflow, "error")
"""

# pytest-asyncio warns where it is not set.
SCOPE = ("-o", "asyncio_default_fixture_loop_scope=function")

CONFTEST = """
import pytest


@pytest.fixture
def engine_options():
    return {"max_running": 3}
"""


def run(directory: Path, installed: Path, *options: str) -> str:
    """Run the tests in a directory, and return what pytest prints."""
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "error", *options],
        cwd=directory,
        env=environment(installed),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=100,
    )
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a directory with a program that uses awfe, and its tests."""
    for name, text in (("steps.py", STEPS), ("test_it.py", USES), ("conftest.py", CONFTEST)):
        (tmp_path / name).write_text(dedent(text))
    return tmp_path


def assert_as_expected(printed: str) -> None:
    """The last of the tests says what is not so, and is told; the others pass."""
    assert "2 passed" in printed, printed
    assert "1 failed" in printed, printed
    assert "AssertionError: 'w' is completed, not error" in printed, printed
    assert "1 Rest completed" in printed, printed
    # Where the test says it, not where the helper found it out.
    assert "asserting.py" not in printed, printed


def test_it_is_there_with_pytest_asyncio(project: Path, installed: Path) -> None:
    assert_as_expected(run(project, installed, "-p", "no:anyio", "-o", "asyncio_mode=auto", *SCOPE))


def test_in_its_strict_mode_too(project: Path, installed: Path) -> None:
    tests = project / "test_it.py"
    tests.write_text(f"import pytest\n\npytestmark = pytest.mark.asyncio\n{tests.read_text()}")
    assert_as_expected(run(project, installed, *SCOPE))


def test_it_is_there_with_the_plugin_of_anyio(project: Path, installed: Path) -> None:
    (project / "pytest_asyncio.py").write_text("raise ImportError('not installed')\n")
    tests = project / "test_it.py"
    tests.write_text(f"import pytest\n\npytestmark = pytest.mark.anyio\n{tests.read_text()}")
    printed = run(project, installed, "-p", "no:asyncio", "-o", "pythonpath=.")
    assert_as_expected(printed)
    assert "test_clock[asyncio]" in printed


def test_fixtures_say_what_they_are_for(project: Path, installed: Path) -> None:
    printed = run(project, installed, "--fixtures", *SCOPE)
    for line in ("an open engine on an empty SQLite database", "jumps over what workflows wait for", "engine_options"):
        assert line in printed


def test_the_tests_on_the_page_about_testing_pass(tmp_path: Path, installed: Path) -> None:
    files = {block.title: block.text for block in blocks(DOCS / "testing.md") if block.title}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert sorted(files) == ["billing.py", "pytest.toml", "test_billing.py", "test_our_server.py"]
    assert f"{5 + len(CHECKS)} passed" in (printed := run(tmp_path, installed)), printed
