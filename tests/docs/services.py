"""Services that run workflows, served by their real servers on the loopback, in processes of their own."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2

from tests.docs.pages import DOCS, ROOT

_LISTENS = r"unning on (http://127\.0\.0\.1:\d+)"
_COMMAND = re.compile(r"^```sh\n(.*)\n```$", re.MULTILINE)
_LIMIT = 60.0


class Service:
    """A service in a directory; `url` is where it listens."""

    def __init__(self, command: str, directory: Path, environ: Mapping[str, str] | None = None) -> None:
        """Start it, and return when it listens: the port is one that is free."""
        program, *arguments = shlex.split(command)
        found = shutil.which(program, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        assert found is not None, program
        port = ["-H", "127.0.0.1", "-P", "0"] if "aiohttp.web" in command else ["--port", "0"]
        self._log = directory / "service.log"
        self._before = self._log.read_text() if self._log.exists() else ""
        with self._log.open("a") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own program
                [found, *arguments, *port],
                cwd=directory,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(environ or {})},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.url = self.told(_LISTENS)[1]
        self._client = httpx2.Client(base_url=self.url, timeout=_LIMIT)

    @property
    def log(self) -> str:
        """What this process has printed."""
        return self._log.read_text().removeprefix(self._before)

    def told(self, pattern: str) -> re.Match[str]:
        """Return as soon as it has printed something."""
        deadline = time.monotonic() + _LIMIT
        while True:
            is_over = self.process.poll() is not None or time.monotonic() > deadline
            if found := re.search(pattern, self.log):
                return found
            assert not is_over, self.log
            time.sleep(0.02)

    def get(self, path: str, status: int = 200) -> Any:
        """Ask for something; returns the JSON."""
        return self._answer(self._client.get(path), status)

    def post(self, path: str, body: Any = None, status: int = 202) -> Any:
        """Ask to do something; returns the JSON."""
        return self._answer(self._client.post(path, json=body), status)

    def _answer(self, answer: httpx2.Response, status: int) -> Any:
        assert answer.status_code == status, (answer.text, self.log)
        return answer.json()

    def until(self, path: str, state: str, done: int = 0) -> Any:
        """Return what an album is as soon as it is in a state, with so many images done."""
        deadline = time.monotonic() + _LIMIT
        while (album := self.get(path))["state"] != state or len(album["context"].get("done", ())) < done:
            assert time.monotonic() < deadline, (album, self.log)
            time.sleep(0.01)
        return album

    def terminate(self) -> None:
        """Ask it to end, as a supervisor does."""
        self._client.close()
        self.process.send_signal(signal.SIGTERM)

    def ended(self) -> str:
        """Wait until it has ended in order, and return what it has printed."""
        assert self.process.wait(_LIMIT) in (0, -signal.SIGTERM), self.log
        return self.log

    def end(self) -> None:
        """Leave nothing behind, however the test ended."""
        self._client.close()
        self.process.kill()
        self.process.wait(_LIMIT)


def command_of(page: str) -> str:
    """Return the command by which a page serves its example."""
    found = _COMMAND.search((DOCS / "howto" / page).read_text())
    assert found is not None, page
    return found[1]


def example(name: str, directory: Path) -> Path:
    """Save an example as a reader would."""
    return Path(shutil.copy(ROOT / "examples" / name, directory))
