"""The command line on the test's database."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminal import Terminal
from tests.databases import Database

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "awfe")
STEPS = ("--import", "tests.cli.steps")
QUICK = {
    "AWFE_POLL_INTERVAL": "0.05",
    "AWFE_TAKEOVER_DELAY": "0.05",
    "AWFE_STOP_GRACE": "5",
    "AWFE_CONNECT_RETRY_FOR": "10",
}


@dataclass
class Done:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document that it printed."""
        assert not self.err, self.err
        (line,) = self.out.splitlines()
        return json.loads(line)


class Running:
    """A command that goes on beside the test."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.out = ""

    async def until(self, wanted: str) -> None:
        """Return when it has printed that."""
        assert self.process.stdout is not None
        while wanted not in self.out:
            line = await self.process.stdout.readline()
            assert line, f"it ended without {wanted!r}: {self.out!r}"
            self.out += line.decode()

    async def end(self) -> Done:
        """Return what it came to."""
        out, err = await self.process.communicate()
        assert self.process.returncode is not None
        return Done(self.process.returncode, self.out + out.decode(), err.decode())


class Cli:
    """Starts `awfe` as a person does: as a process, on the test's database, with the test's steps."""

    def __init__(self, url: str) -> None:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("AWFE_")}
        self.environ = {**kept, **QUICK, "AWFE_DATABASE_URL": url, "COLUMNS": "100"}
        self._running: list[asyncio.subprocess.Process] = []
        self.typed: list[tuple[str, ...]] = []

    async def start(self, *arguments: str, **environ: str) -> Running:
        """Start a command."""
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *STEPS,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env={**self.environ, **environ},
        )
        self._running.append(process)
        self.typed.append(arguments)
        return Running(process)

    async def __call__(self, *arguments: str, code: int = 0) -> Done:
        """Run a command to its end, and expect its exit code."""
        done = await (await self.start(*arguments)).end()
        assert done.code == code, done
        return done

    def terminal(self, *arguments: str, **environ: str) -> Terminal:
        """Start a command in a terminal of its own."""
        inherited = {key: value for key, value in self.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
        return Terminal([*COMMAND, *STEPS, *arguments], {**inherited, "TERM": "xterm-256color", **environ}, ROOT)

    async def end(self) -> None:
        """End what still runs."""
        for process in self._running:
            with suppress(ProcessLookupError):
                process.kill()
            await process.communicate()


@pytest.fixture
async def awfe(database: Database) -> AsyncIterator[Cli]:
    """Return the command line."""
    cli = Cli(database.url)
    yield cli
    await cli.end()


def book(path: Path, *steps: str, name: str = "release {version}") -> str:
    """Write a runbook of these steps, and return where it is."""
    lines = [f"name: {name!r}", "context:", "  version: {type: int, default: 42}", "  disk: 3", "steps:"]
    path.write_text("\n".join([*lines, *(f"  - {step}" for step in steps), ""]))
    return str(path)


def use(name: str, **values: Any) -> str:
    """Return the line of one of the tests' steps."""
    given = f", with: {json.dumps(values)}" if values else ""
    return f"{{use: 'tests.cli.steps:{name}'{given}}}"


def held(tmp_path: Path) -> tuple[str, Path]:
    """Return a runbook whose second step ends when a file is there, and that file."""
    gate = tmp_path / "gate"
    steps = ("shell: echo hello", use("Hold", file=str(gate)), use("Print", lines=3))
    return book(tmp_path / "book.yaml", *steps, name="w"), gate
