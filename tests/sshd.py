"""SSH servers for the tests: OpenSSH's, as a private process, and asyncssh's, in the test's own loop."""

import asyncio
import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from tests.programs import dying_with_parent, find_program
from tests.servers import REQUIRE_ALL, ServerError

SSHD = find_program("sshd")
USER = pwd.getpwuid(os.geteuid()).pw_name
_READY = "Server listening on"
_DEADLINE = 30.0


@dataclass
class Keys:
    """The files of one test: a private key for the client, which all servers accept, and the hosts that are known."""

    directory: Path
    hosts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make them."""
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(self.identity)
        key.write_public_key(self.authorized)
        self.known_hosts.write_text("")

    @property
    def identity(self) -> Path:
        """The client's private key."""
        return self.directory / "identity"

    @property
    def authorized(self) -> Path:
        """The keys that servers accept."""
        return self.directory / "authorized"

    @property
    def known_hosts(self) -> Path:
        """The keys of hosts that the client accepts."""
        return self.directory / "known_hosts"

    @property
    def options(self) -> dict[str, Any]:
        """What a step is told of them."""
        return {"identity": str(self.identity), "known_hosts": str(self.known_hosts), "user": USER}

    def host_key(self, port: int, *, known: bool = True) -> Path:
        """Make the key of a host, and let it be known."""
        key = asyncssh.generate_private_key("ssh-ed25519")
        path = self.directory / f"host-{port}"
        key.write_private_key(path)
        path.chmod(0o600)
        if known:
            with self.known_hosts.open("a") as file:
                file.write(f"[127.0.0.1]:{port} {key.export_public_key().decode()}")
        return path


def need_sshd() -> None:
    """Skip the test where there is no sshd, and may be none."""
    if SSHD is None:
        if REQUIRE_ALL:
            pytest.fail("missing sshd: apt-get install openssh-server")
        pytest.skip("no sshd here")


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Sshd:
    """OpenSSH's server, for the user that runs the tests."""

    def __init__(self, keys: Keys, *, known: bool = True) -> None:
        """Start it and wait until it listens."""
        for _ in range(10):
            self.port = free_port()
            if self._start(keys.host_key(self.port, known=known), keys):
                return
        msg = "sshd finds every port taken"
        raise ServerError(msg)

    @property
    def host(self) -> str:
        """How a step calls it."""
        return f"127.0.0.1:{self.port}"

    def _start(self, host_key: Path, keys: Keys) -> bool:
        assert SSHD is not None
        config = keys.directory / f"sshd-{self.port}"
        log = keys.directory / f"log-{self.port}"
        options = f"""
            Port {self.port}
            ListenAddress 127.0.0.1
            HostKey {host_key}
            AuthorizedKeysFile {keys.authorized}
            StrictModes no
            UsePAM no
            PidFile none
            PasswordAuthentication no
            KbdInteractiveAuthentication no
            PermitRootLogin prohibit-password
            MaxStartups 1000
            LogLevel VERBOSE
        """
        config.write_text("\n".join(line.strip() for line in options.splitlines()))
        if os.geteuid() == 0:  # where it shuts itself in; the package's service makes it
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        with log.open("wb") as file:
            self.process = subprocess.Popen(  # noqa: S603 - our own server
                [SSHD, "-D", "-e", "-f", config],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
                preexec_fn=dying_with_parent(signal.SIGTERM),  # noqa: PLW1509 - it needs no lock of another thread
            )
        deadline = time.monotonic() + _DEADLINE
        while _READY not in (text := log.read_text(errors="replace")):
            if "Address already in use" in text:
                self.stop()
                return False
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                msg = f"sshd did not start:\n{text[-4000:]}"
                raise ServerError(msg)
            time.sleep(0.01)
        return True

    def stop(self) -> None:
        """End it; its sessions end with their connections."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()


@dataclass
class Host:
    """asyncssh's server: it runs commands by `sh`, and remembers them."""

    port: int
    commands: list[str] = field(default_factory=list)
    instead: "Callable[[asyncssh.SSHServerProcess[bytes]], Awaitable[None]] | None" = None

    @property
    def host(self) -> str:
        """How a step calls it."""
        return f"127.0.0.1:{self.port}"

    async def run(self, process: "asyncssh.SSHServerProcess[bytes]") -> None:
        """Run a command as a server does: in a session of its own."""
        self.commands.append(process.command or "")
        if self.instead is not None:
            await self.instead(process)
            return
        child = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", process.command or ""),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert child.stdin and child.stdout and child.stderr  # noqa: PT018 - for the type checker
        lifeline = asyncio.create_task(_wait_for_end(process, child.stdin))
        await asyncio.gather(_copy(child.stdout, process.stdout), _copy(child.stderr, process.stderr))
        status = await child.wait()
        lifeline.cancel()
        if status >= 0:
            process.exit(status)
        else:
            process.exit_with_signal(signal.Signals(-status).name[3:])


async def _wait_for_end(process: "asyncssh.SSHServerProcess[bytes]", stdin: asyncio.StreamWriter) -> None:
    with suppress(asyncssh.Error):
        while await process.stdin.read(1024):
            pass
    stdin.close()


async def _copy(reader: asyncio.StreamReader, writer: "asyncssh.SSHWriter[bytes]") -> None:
    while text := await reader.read(4096):
        with suppress(asyncssh.Error, OSError):
            writer.write(text)
            await writer.drain()


@asynccontextmanager
async def hosts(keys: Keys, count: int) -> AsyncIterator[list[Host]]:
    """Yield so many servers, each on a port of its own."""
    made: list[Host] = []
    async with AsyncExitStack() as stack:
        for _ in range(count):
            host = Host(free_port())
            server = await asyncssh.listen(
                *("127.0.0.1", host.port),
                server_host_keys=[str(keys.host_key(host.port))],
                authorized_client_keys=str(keys.authorized),
                process_factory=host.run,
                encoding=None,
            )
            stack.push_async_callback(server.wait_closed)
            stack.callback(server.close)
            made.append(host)
        yield made


def processes(word: str) -> list[int]:
    """Return the processes that have a word in their environment or arguments, but for this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            pid = int(path.parent.name)
            if word.encode() in path.read_bytes() and pid != os.getpid() and not _is_dead(path.parent):
                found.append(pid)
    return found


def _is_dead(process: Path) -> bool:
    return (process / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
