"""Standard streams that are closed, full, or read by nobody any more: the exit code stays true, with no traceback."""

import asyncio
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, ROOT, Cli, book, held, use

pytestmark = [pytest.mark.databases("sqlite"), pytest.mark.timeout(300)]


async def test_a_reader_that_goes_away_does_not_end_the_run(awfe: Cli, tmp_path: Path) -> None:
    file, gate = held(tmp_path)
    running = await awfe.start("run", file)
    await running.until("holding for gate")
    transport = running.process._transport  # type: ignore[attr-defined]  # asyncio has no public way to close one pipe
    transport.get_pipe_transport(1).close()
    gate.touch()
    ended = await running.end()
    assert (ended.code, ended.err) == (0, "")
    # Of the help rich says that it could not be printed, by the code alone.
    for code, command in ((1, ["--help"]), (0, ["history", "w"]), (0, ["watch"])):
        running = await awfe.start(*command)
        transport = running.process._transport  # type: ignore[attr-defined]  # as above
        transport.get_pipe_transport(1).close()
        ended = await running.end()
        assert (ended.code, ended.err) == (code, "")
    assert (await awfe("show", "w")).out.startswith("w  completed\n")


FULL = "awfe: standard output can't be written: No space left on device\n"
NOPE = "awfe: there is no workflow 'nope'\n"
TYPED = (
    ("list >&-", 0, "", ""),
    ("show nope >&-", 7, "", NOPE),
    ("list 2>&-", 0, "there is none\n", ""),
    ("show nope 2>&-", 7, "", ""),
    ("show nope >&- 2>&- <&-", 7, "", ""),
    ("purge --older-than 1d <&-", 2, "", "awfe: this needs a yes, and there is no terminal to ask on: add --yes\n"),
    ("list >/dev/full", 1, "", FULL),
    ("--help >/dev/full", 1, "", FULL),
    ("list --json >/dev/full", 1, "", FULL),
    ("show nope 2>/dev/full", 7, "", ""),
)


async def typed(awfe: Cli, command: str) -> list[int | str | None]:
    """Return what came of a command that a shell was given, as a person types it: exit code, output, errors."""
    process = await asyncio.create_subprocess_shell(
        f"exec {shlex.join(COMMAND)} {command}",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=awfe.environ,
    )
    out, err = await process.communicate()
    return [process.returncode, out.decode(), err.decode()]


async def test_streams_that_are_closed_or_full(awfe: Cli) -> None:
    await awfe("db", "upgrade")
    for command, *wanted in TYPED:
        assert await typed(awfe, command) == wanted, command


async def test_who_goes_on_by_name_is_told_what_to_import(awfe: Cli, tmp_path: Path) -> None:
    """A runbook imports what it names; the database alone makes nobody import anything."""
    file = book(tmp_path / "book.yaml", use("Need"), use("Plain"), name="w")
    code, _, err = await typed(awfe, f"run {file}")
    assert (code, str(err).splitlines()[-1]) == (3, "awfe: see awfe --import tests.cli.steps show w")
    code, out, _ = await typed(awfe, "show w")
    now = str(out).partition("\nNow\n")[2].splitlines()
    assert now[0].startswith("  awfe --import tests.cli.steps show w ")
    code, _, err = await typed(awfe, "plan restart w")
    assert (code, err) == (1, "awfe: see awfe --import tests.cli.steps plan restart w\n")
    code, _, err = await typed(awfe, "restart w --set disk=20")
    assert (code, str(err).splitlines()[-1]) == (1, "add --import tests.cli.steps")
    assert (await awfe("restart", "w", "--set", "disk=20")).out.endswith("w: completed\n")
