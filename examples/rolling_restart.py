"""A rolling restart over SSH: one host first, then, when somebody approves, the others; none that is done again.

The hosts are SSH servers on this machine, each with a directory of its own. Break one, and mend it:

    mkdir -p rolling/web2; touch rolling/web2/broken
    python examples/rolling_restart.py                  restarts web1, and waits for an approval, for days if need be
    python examples/rolling_restart.py --approve ada    goes on; fails at web2, and web3 keeps the old version
    rm rolling/web2/broken
    python examples/rolling_restart.py                  goes on with what is left

Needs the extra: pip install 'awfe[ssh]'.
"""

import argparse
import asyncio
import getpass
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncssh

from awfe import Engine, StepError
from awfe.steps import Approval, OnHosts

NAME = "restart to 2.0"
LOGIN: dict[str, Any] = {"user": getpass.getuser(), "identity": "identity", "known_hosts": "known_hosts"}
STEPS = [
    OnHosts("hosts", "cat version", save_as="before", **LOGIN),
    OnHosts("first", "test ! -e broken && echo {version} > version", **LOGIN),
    Approval("{first[0]} has {version}; restart the others?"),
    # One after the other: when one does not come up those after it are not touched.
    OnHosts("others", "test ! -e broken && echo {version} > version", serial=1, save_as="restarted", **LOGIN),
    OnHosts("hosts", "cat version; test $(cat version) = {version}", save_as="after", **LOGIN),
]


def key(path: str) -> asyncssh.SSHKey:
    """Return the key of a file, which is made where there is none."""
    if not Path(path).exists():
        made = asyncssh.generate_private_key("ssh-ed25519")
        made.write_private_key(path)
        made.write_public_key(f"{path}.pub")
    return asyncssh.read_private_key(path)


def home_of(host: str) -> Path:
    """Return the directory of a host, with the version that it begins with."""
    home = Path(host)
    home.mkdir(exist_ok=True)
    if not (home / "version").exists():
        (home / "version").write_text("1.9\n")
        (home / "port").write_text("0")
    return home


def remember(home: Path, port: int, host_key: asyncssh.SSHKey) -> str:
    """Let the key of a host be known, and its port for the next time; return its address."""
    (home / "port").write_text(f"{port}")
    with Path("known_hosts").open("a") as file:
        file.write(f"[127.0.0.1]:{port} {host_key.export_public_key().decode()}")
    return f"127.0.0.1:{port}"


async def serve(host: str, stack: AsyncExitStack) -> str:
    """Start the SSH server of a host, where it was before; return its address."""
    home = home_of(host)

    async def run(process: "asyncssh.SSHServerProcess[bytes]") -> None:
        command, pipe = process.command or "", asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_shell(
            command, cwd=home, stdin=pipe, stdout=pipe, start_new_session=True
        )
        assert child.stdin and child.stdout  # noqa: PT018, S101 - they are pipes
        # The end of the connection is the end of its input, which ends what runs.
        lifeline = asyncio.create_task(process.stdin.read())
        lifeline.add_done_callback(lambda _, stdin=child.stdin: stdin.close())  # type: ignore[misc]  # of this child
        process.stdout.write(await child.stdout.read())
        process.exit(await child.wait())
        lifeline.cancel()

    host_key, port = key(f"{host}/key"), int((home / "port").read_text())
    options: dict[str, Any] = {"authorized_client_keys": "identity.pub", "process_factory": run, "encoding": None}
    server = await asyncssh.listen("127.0.0.1", port, server_host_keys=[host_key], **options)
    stack.callback(server.close)
    return remember(home, server.get_port(), host_key)


async def restart(hosts: list[str], approver: str | None) -> None:
    """Begin the workflow, or go on with it; where it asks for approval, answer or leave it waiting."""
    async with Engine("sqlite:///rolling.db", redirect=lambda text: print(text, end="")) as engine:
        found = await engine.list(name_prefix=NAME)
        if not found:
            context = {"hosts": hosts, "first": hosts[:1], "others": hosts[1:], "version": "2.0"}
            await engine.create_workflow(NAME, context, STEPS)
        elif found[0].state in ("error", "stopped"):
            await engine.reset(NAME)
        handle = await engine.start(NAME)
        while not handle.done() and (await engine.get(NAME)).state != "waiting":  # noqa: ASYNC110 - a look by an operator
            await asyncio.sleep(0.05)
        if not handle.done() and approver is None:
            print("it waits: run this again with --approve NAME")
            return
        try:
            if not handle.done():
                await engine.approve(NAME, actor=approver, comment="looks good")
            print((await handle).state)
        except StepError as error:
            print(error)


async def main(approver: str | None) -> None:
    async with AsyncExitStack() as stack:
        await restart([await serve(host, stack) for host in ("web1", "web2", "web3")], approver)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", default="rolling", help="where the hosts are (default: %(default)s)")
    parser.add_argument("--approve", metavar="NAME", help="approve in this name, when it asks")
    arguments = parser.parse_args()
    directory = Path(arguments.dir)
    directory.mkdir(exist_ok=True)
    os.chdir(directory)
    key("identity")
    asyncio.run(main(arguments.approve))
