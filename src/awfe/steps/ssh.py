"""One command on one host, by SSH."""

import asyncio
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncssh

from awfe.steps.addresses import Address
from awfe.steps.failed import Failed, HostFailed
from awfe.steps.hostkeys import FURTHER_ALGORITHMS, KnownHosts, Witness

_GRACE = 5
_CHUNK = 16_384
_KEEPALIVE = 15
# The command's input is the lifeline: its end, by a stop, or because awfe or the network is gone, ends the process
# group there, by TERM and then by KILL. The signals of the protocol are refused by servers for some users, as for root.
_LIFELINE = """
exec 3<&0 </dev/null
grace=$1; shift
(
    trap "" TERM
    while read -r _; do :; done <&3
    kill -TERM -$$
    sleep "$grace"
    kill -KILL -$$
) >/dev/null 2>&1 &
lifeline=$!
"$@" 3<&-
status=$?
exec 2>/dev/null
kill -KILL $lifeline
exit $status
"""


class Ssh:
    """Runs commands on hosts, with a connection for each; the files that it is told of are read at the beginning."""

    def __init__(
        self,
        *,
        user: str | None,
        port: int,
        identity: list[str] | None,
        passphrase: object,
        known_hosts: str | None,
        config: str | None,
        connect_timeout: float,
        keep: int,
    ) -> None:
        """Read the keys of hosts and one's own; raises `Failed` where that can't be."""
        self._known = KnownHosts.read(known_hosts)
        self._timeout = connect_timeout
        self._keep = keep
        self._user = user
        self._port = port
        self._options: dict[str, Any] = {
            "config": config,
            "connect_timeout": connect_timeout,
            "login_timeout": connect_timeout,
            "keepalive_interval": _KEEPALIVE,
            "known_hosts": self._known.keys,
            "server_host_key_algs": FURTHER_ALGORITHMS,
        }
        if identity is not None:
            self._options["client_keys"] = [_private_key(path, passphrase) for path in identity]

    async def run(self, address: Address, words: list[str], tell: Callable[[str], None]) -> tuple[int, str, str]:
        """Return the exit status and the ends of both outputs; raises `HostFailed` when there is no status.

        One that is cancelled ends the command there first, within seconds.
        """
        connection = await self._connect(address)
        try:
            return await self._execute(connection, words, tell)
        except (asyncssh.Error, OSError) as error:
            msg = f"the connection was lost, and it is not known what became of the command: {_told(error)}"
            raise HostFailed(msg) from error
        finally:
            connection.abort()
            await connection.wait_closed()

    async def _connect(self, address: Address) -> asyncssh.SSHClientConnection:
        options = dict(self._options)
        port = address.port or self._port
        if port != asyncssh.DEFAULT_PORT or options["config"] is None:
            options["port"] = port
        if user := address.user or self._user:
            options["username"] = user
        witness = Witness(address.name, port)
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncssh.connect(address.name, client_factory=lambda: witness, **options)
        except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
            raise HostFailed(self._known.explain(witness, error)) from error
        except TimeoutError as error:
            msg = f"could not be reached within connect_timeout={self._timeout:g} s"
            raise HostFailed(msg) from error
        except (asyncssh.Error, OSError) as error:
            msg = f"could not be reached: {_told(error)}"
            raise HostFailed(msg) from error

    async def _execute(
        self, connection: asyncssh.SSHClientConnection, words: list[str], tell: Callable[[str], None]
    ) -> tuple[int, str, str]:
        command = f"exec {shlex.join(['sh', '-c', _LIFELINE, 'awfe', str(_GRACE), *words])}"
        process = await connection.create_process(command, encoding="utf-8", errors="replace")
        following = asyncio.ensure_future(self._follow(process, tell))
        try:
            stdout, stderr = await asyncio.shield(following)
        except asyncio.CancelledError:
            process.stdin.write_eof()
            await asyncio.wait({following}, timeout=_GRACE + 1)
            raise
        finally:
            following.cancel()
            await asyncio.wait({following})
        if process.exit_status is None:
            signal = process.exit_signal and process.exit_signal[0]
            msg = f"was ended by {signal}" if signal else "the connection was lost, and its exit status with it"
            raise HostFailed(msg, stdout=stdout)
        return process.exit_status, stdout, stderr

    async def _follow(self, process: "asyncssh.SSHClientProcess[str]", tell: Callable[[str], None]) -> tuple[str, str]:
        async def read(reader: "asyncssh.SSHReader[str]") -> str:
            tail = ""
            while text := await reader.read(_CHUNK):
                tell(text)
                tail = (tail + text)[-self._keep :]
            return tail

        # Both are read to their ends: the server waits for that before it tells how the command ended.
        stdout, stderr = await asyncio.gather(read(process.stdout), read(process.stderr), return_exceptions=True)
        for ended in (stdout, stderr):
            if isinstance(ended, BaseException):
                raise ended
        await process.wait_closed()
        return str(stdout), str(stderr)


def _private_key(path: str, passphrase: object) -> asyncssh.SSHKey:
    try:
        return asyncssh.read_private_key(Path(path).expanduser(), None if passphrase is None else str(passphrase))
    except (OSError, ValueError) as error:
        msg = f"identity={path!r}: {_told(error)}"
        raise Failed(msg) from error


def _told(error: BaseException) -> str:
    return str(error) or type(error).__name__
