"""Real database servers for the tests: those the environment names, else private ones.

A private server keeps its files in a temporary directory, listens on a free port of 127.0.0.1, and
lives no longer than the pytest process that started it, even when that one is killed.

    python -m tests.servers        names the Debian packages of the servers that are missing
"""

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

START_TIMEOUT = 60.0
MAX_CONNECTIONS = 400
FAST = os.environ.get("AWFE_TEST_FAST") == "1"
REQUIRE_ALL = os.environ.get("AWFE_TEST_REQUIRE_ALL") == "1"

_PR_SET_PDEATHSIG = 1
_PRCTL = getattr(ctypes.CDLL(None), "prctl", None)  # Linux has it


class ServerError(Exception):
    """A server is missing or did not start."""


class Server(ABC):
    """A private server of one kind."""

    dialect: ClassVar[str]
    variable: ClassVar[str]
    package: ClassVar[str]
    programs: ClassVar[tuple[str, ...]]
    account: ClassVar[str]
    scheme: ClassVar[str]
    ready: ClassVar[str]
    end_signal: ClassVar[signal.Signals]

    def __init__(self, program: str, *, fast: bool = FAST, max_connections: int = MAX_CONNECTIONS) -> None:
        self.program = program
        self.fast = fast
        self.max_connections = max_connections
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        # Bound until the server takes the port over, so that nobody else is given it: the URL is
        # needed before the server is.
        self._reserved = socket.socket()
        self._reserved.bind(("127.0.0.1", 0))
        self.port: int = self._reserved.getsockname()[1]

    @classmethod
    def find(cls) -> str | None:
        """Return the program, on the PATH or where distributions hide it from users."""
        versions = Path("/usr/lib/postgresql").glob("[0-9]*/bin")
        newest_first = sorted(versions, key=lambda path: -int(path.parent.name))
        hidden = ["/usr/sbin", "/usr/local/sbin", "/usr/libexec", *map(str, newest_first)]
        path = os.pathsep.join([os.environ.get("PATH", os.defpath), *hidden])
        return next(filter(None, (shutil.which(name, path=path) for name in cls.programs)), None)

    @property
    def url(self) -> str:
        """The server, for its administrator."""
        return f"{self.scheme}@127.0.0.1:{self.port}/"

    @abstractmethod
    def installation(self) -> str:
        """Return the shell commands that make `./data`."""

    @abstractmethod
    def command(self) -> str:
        """Return the shell command that is the server."""

    def start(self) -> None:
        """Start without waiting: two servers take the time of one."""
        self._reserved.close()
        self._directory = Path(tempfile.mkdtemp(prefix=f"awfe-{self.dialect}-"))
        self._run(f"{self.installation()}\nexec {self.command()}")

    def crash(self) -> None:
        """Kill it in the middle of whatever it does; its data stays as it is."""
        assert self._process is not None
        # Stopped, it starts no further child that would be missed.
        os.kill(self._process.pid, signal.SIGSTOP)
        children = _children(self._process.pid)
        for pid in (self._process.pid, *children):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        # A server refuses data that a process of the old one still uses.
        while any(map(_lives, children)):
            time.sleep(0.01)

    def restart(self) -> None:
        """Start it again on the same port and data after a crash; see `wait`."""
        self._run(f"exec {self.command()}")

    def _run(self, script: str) -> None:
        assert self._directory is not None
        uid = gid = None
        if os.geteuid() == 0:  # neither server runs as root
            account = pwd.getpwnam(self.account)
            uid, gid = account.pw_uid, account.pw_gid
            os.chown(self._directory, uid, gid)
        parent = os.getpid()

        def die_with_parent() -> None:
            if _PRCTL:
                _PRCTL(_PR_SET_PDEATHSIG, int(self.end_signal))
            if os.getppid() != parent:
                os._exit(1)

        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the script is ours
                ["/bin/sh", "-euc", script],
                cwd=self._directory,
                # `ready` is looked for in English. A server of MySQL's that starts removes the temporary tables that it
                # finds in TMPDIR, whoever's they are.
                env={**os.environ, "LC_ALL": "C", "TMPDIR": str(self._directory)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=uid,
                group=gid,
                extra_groups=None if uid is None else (),
                # Ctrl-C is for pytest, which still needs the servers to clean up.
                start_new_session=True,
                # Changing the user would undo it; `preexec_fn` comes after that.
                preexec_fn=die_with_parent,  # noqa: PLW1509 - it needs no lock of another thread
            )

    def wait(self) -> None:
        """Return when the server takes connections."""
        assert self._process is not None
        assert self._directory is not None
        log = self._directory / "log"
        deadline = time.monotonic() + START_TIMEOUT
        while self.ready not in (text := log.read_text(errors="replace")):
            if self._process.poll() is not None or time.monotonic() > deadline:
                msg = f"{self.program} did not start:\n{text[-4000:]}"
                raise ServerError(msg)
            time.sleep(0.02)

    def stop(self) -> None:
        """End the server at once and remove its files, that nobody needs any more."""
        self._reserved.close()
        if self._process is not None:
            if self._process.poll() is None:
                os.killpg(self._process.pid, self.end_signal)
            self._process.wait()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)


class MySQL(Server):
    """MariaDB, or MySQL."""

    dialect = "mysql"
    variable = "AWFE_TEST_MYSQL_URL"
    package = "mariadb-server"
    programs = ("mariadbd", "mysqld")
    account = "mysql"
    scheme = "mysql+aiomysql://root"
    ready = "ready for connections"
    end_signal = signal.SIGKILL

    def installation(self) -> str:
        """Return commands for whichever of the two is there."""
        return f"""
        case $({self.program} --no-defaults --version) in
        *MariaDB*)
            PATH=$PATH:{Path(self.program).parent}
            installer=$(command -v mariadb-install-db || command -v mysql_install_db)
            $installer --no-defaults --datadir="$PWD/data" --skip-test-db \
                --auth-root-authentication-method=normal ;;
        *)
            {self.program} --no-defaults --datadir="$PWD/data" --initialize-insecure ;;
        esac
        """

    def command(self) -> str:
        """Return the server's, that both understand."""
        fast = "--innodb-flush-log-at-trx-commit=0 --sync-binlog=0" if self.fast else ""
        return f"""{self.program} --no-defaults --datadir="$PWD/data" --socket="$PWD/socket" \
            --pid-file="$PWD/pid" --loose-mysqlx=OFF --bind-address=127.0.0.1 \
            --port={self.port} --max-connections={self.max_connections} {fast}"""


class PostgreSQL(Server):
    """PostgreSQL."""

    dialect = "postgresql"
    variable = "AWFE_TEST_POSTGRESQL_URL"
    package = "postgresql"
    programs = ("postgres",)
    account = "postgres"
    scheme = "postgresql+asyncpg://postgres"
    ready = "database system is ready to accept connections"
    # The quickest signal on which it still takes its shared memory and its children with it.
    end_signal = signal.SIGQUIT

    @property
    def url(self) -> str:
        """The server, for its administrator, whose database always exists."""
        return f"{super().url}postgres"

    def installation(self) -> str:
        """Return the command of the program that belongs to the server found."""
        initdb = Path(self.program).resolve().with_name("initdb")
        return f"{initdb} --no-sync --auth=trust --username=postgres --encoding=UTF8 --locale=C -D data"

    def command(self) -> str:
        """Return the server's."""
        fast = "-c fsync=off -c full_page_writes=off -c synchronous_commit=off" if self.fast else ""
        return f"""{self.program} -D data -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
            -c port={self.port} -c max_connections={self.max_connections} {fast}"""


KINDS: tuple[type[Server], ...] = (MySQL, PostgreSQL)


class Servers:
    """The servers of one pytest session.

    Their URLs are in the environment at once, for the workers to inherit; a server is started when
    a test is known to need it.
    """

    def __init__(self) -> None:
        self._private: list[Server] = []
        self._started: list[Server] = []
        for kind in KINDS:
            if kind.variable not in os.environ and (program := kind.find()):
                server = kind(program)
                self._private.append(server)
                os.environ[kind.variable] = server.url

    def start(self, dialects: Collection[str]) -> None:
        """Start what these dialects need and what is not running yet."""
        missing = [kind for kind in missing_servers() if kind.dialect in dialects]
        if missing and REQUIRE_ALL:
            packages = " ".join(kind.package for kind in missing)
            variables = " and ".join(kind.variable for kind in missing)
            msg = f"missing servers: apt-get install {packages}, or set {variables}"
            raise ServerError(msg)
        needed = [server for server in self._private if server.dialect in dialects]
        new = [server for server in needed if server not in self._started]
        for server in new:
            self._started.append(server)
            server.start()
        for server in new:
            server.wait()

    def stop(self) -> None:
        """End the private servers."""
        for server in self._private:
            server.stop()
            os.environ.pop(server.variable, None)


def _children(pid: int) -> list[int]:
    """Return the processes that a process has started; PostgreSQL's take themselves out of its group."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def missing_servers() -> list[type[Server]]:
    """Return the kinds that neither the environment nor this machine has."""
    return [kind for kind in KINDS if kind.variable not in os.environ and not kind.find()]


if __name__ == "__main__":
    print(*(kind.package for kind in missing_servers()))
