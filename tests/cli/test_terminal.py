"""The command line in a real terminal, and without one."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, book, held

# Each starts many processes, one after the other.
pytestmark = [pytest.mark.databases("sqlite"), pytest.mark.timeout(300)]
CTRL_C = "\x03"


async def test_shows_progress_follows_the_size_and_pauses_at_the_first_ctrl_c(awfe: Cli, tmp_path: Path) -> None:
    file, gate = held(tmp_path)
    with awfe.terminal("run", file) as terminal:
        terminal.until("holding for gate")
        terminal.until("2  Hold   ▶ running    1")
        assert "\x1b[" in terminal.raw
        assert "1  Shell  ✓ completed  1" in terminal.text
        # On a narrow terminal nothing is wider than it, on a low one the current step is among those shown.
        terminal.resize(10, 24)
        seen = len(terminal.text)
        terminal.until("▶ running", since=seen + 400)
        assert max(map(len, terminal.text[seen + 400 :].split("\n")[1:-1])) <= 24
        terminal.resize(30, 100)
        terminal.type(CTRL_C)
        terminal.until("pausing after the current step; Ctrl-C again stops it now")
        terminal.until("asked to pause")
        gate.touch()
        assert terminal.end() == 4
        assert terminal.text.endswith("awfe: 'w' is paused\n")
    # Where no colour is wanted there is none, and what a step prints can't steer the terminal.
    with awfe.terminal("run", "w", NO_COLOR="1") as terminal:
        assert terminal.end() == 0
        assert "\x1b[32m" not in terminal.raw
        assert "\x1b[2J" not in terminal.raw
        assert "line 2 \\x1b[2J" in terminal.text
        assert terminal.text.endswith("w: completed\n")


async def test_stops_at_the_second_ctrl_c(awfe: Cli, tmp_path: Path) -> None:
    file, _ = held(tmp_path)
    with awfe.terminal("run", file) as terminal:
        terminal.until("holding for gate")
        terminal.type(CTRL_C)
        terminal.until("Ctrl-C again stops it now")
        terminal.type(CTRL_C)
        assert terminal.end() == 4
        assert "stopping: the step has 5 s to end" in terminal.text
        assert terminal.text.endswith("awfe: 'w' is stopped\n")
    with awfe.terminal("delete", "w") as terminal:
        terminal.until("delete 'w': stopped → deleted")
        terminal.until("delete w? [y/N] ")
        terminal.type("n\r")
        assert terminal.end() == 1
        assert terminal.text.endswith("awfe: nothing was changed\n")
    with awfe.terminal("reset", "w", "--from-step", "1") as terminal:
        terminal.until("reset 'w': stopped → paused")
        terminal.until("reset w? [y/N] ")
        terminal.type("y\r")
        assert terminal.end() == 0
        assert terminal.text.endswith("w: reset (state: paused)\n")
    with awfe.terminal("rollback", "w", "--reason", "enough") as terminal:
        terminal.until("rollback w? [y/N] ")
        terminal.type("y\r")
        assert terminal.end() == 0
        assert terminal.text.endswith("w: rolled_back\n")
    with awfe.terminal("delete", "w") as terminal:
        terminal.until("delete w? [y/N] ")
        terminal.type(CTRL_C)
        assert terminal.end() == 130
        assert terminal.text.endswith("awfe: interrupted\n")
    with awfe.terminal("purge", "--older-than", "0s") as terminal:
        terminal.until("of 0 completed, 1 rolled_back: all that have been so for longer than 0s")
        terminal.until("purge them? [y/N] ")
        terminal.type("y\r")
        assert terminal.end() == 0
        assert terminal.text.endswith("w: deleted\n")


async def test_watches_until_ctrl_c(awfe: Cli, tmp_path: Path) -> None:
    file, gate = held(tmp_path)
    running = await awfe.start("run", file)
    await running.until("holding for gate")
    with awfe.terminal("watch", "--interval", "0.05") as terminal:
        terminal.until("w     running  2 Hold")
        gate.touch()
        terminal.until("completed")
        terminal.type(CTRL_C)
        assert terminal.end() == 0
    assert (await running.end()).code == 0
    # Also where nobody answers: nobody listens at port 1.
    with awfe.terminal("watch", "--db", "mysql://u@127.0.0.1:1/d", AWFE_CONNECT_RETRY_FOR="600") as terminal:
        terminal.until("does not answer")
        terminal.type(CTRL_C)
        assert terminal.end() == 0


async def test_the_end_of_the_terminal_pauses_the_run(awfe: Cli, tmp_path: Path) -> None:
    file, gate = held(tmp_path)
    terminal = awfe.terminal("run", file)
    terminal.until("holding for gate")
    terminal.hang_up()
    gate.touch()
    await asyncio.to_thread(os.waitpid, terminal.pid, 0)
    shown = await awfe("list")
    assert shown.out.splitlines()[1].split()[:4] == ["w", "paused", "3", "Print"]


async def test_lines_without_a_terminal_are_never_cut_off(awfe: Cli, tmp_path: Path) -> None:
    name = "n" * 200
    await awfe("create", book(tmp_path / "book.yaml", "shell: echo"), "--name", name)
    out = (await awfe("list")).out
    assert name in out
    assert "\x1b" not in out
    assert not any(line.endswith(" ") for line in out.splitlines())
