"""Standard streams that are closed, full, or read by nobody any more: the exit code stays true, with no traceback."""

import asyncio
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, ROOT, Cli, held

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


async def test_streams_that_are_closed_or_full(awfe: Cli) -> None:
    await awfe("db", "upgrade")
    for command, *wanted in TYPED:
        process = await asyncio.create_subprocess_shell(
            f"exec {shlex.join(COMMAND)} {command}",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env=awfe.environ,
        )
        out, err = await process.communicate()
        assert [process.returncode, out.decode(), err.decode()] == wanted, command
