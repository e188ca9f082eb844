"""OnHosts without an engine, against OpenSSH's server and asyncssh's."""

import asyncio
import random
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from awfe import Context, InvalidInput
from awfe.steps import Failed, OnHosts
from tests.sshd import Host, Keys, Sshd, free_port, hosts, need_sshd, processes

KINDS = ("openssh", "asyncssh")


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """Return the keys of the test."""
    return Keys(tmp_path)


@pytest.fixture(params=KINDS)
async def host(request: pytest.FixtureRequest, keys: Keys) -> AsyncIterator[str]:
    """Yield a host, of each kind in turn."""
    if request.param == "openssh":
        need_sshd()
        server = Sshd(keys)
        yield server.host
        server.stop()
    else:
        async with hosts(keys, 1) as made:
            yield made[0].host


@pytest.fixture
async def fleet(keys: Keys) -> AsyncIterator[list[Host]]:
    """Yield five hosts."""
    async with hosts(keys, 5) as made:
        yield made


def names(fleet: list[Host]) -> list[str]:
    """Return how a step calls them."""
    return [each.host for each in fleet]


def printing(ctx: Context) -> list[str]:
    """Return a list that gets the output."""
    lines: list[str] = []
    ctx.output = lines.append  # type: ignore[assignment, method-assign]  # what is printed
    return lines


async def test_a_text_goes_through_sh_and_words_do_not(host: str, keys: Keys) -> None:
    ctx = Context({"file": 'it\'s $HOME `x` "y"\nand {file}', "n": 3})
    lines = printing(ctx)
    command = 'for i in 1 2; do echo "$i" {file}; done; echo {host} {n} >&2; [ {n} = 3 ] || exit 1'
    await OnHosts([host], command, save_as="out", **keys.options).work(ctx)
    line = f"{ctx['file']}\n"
    assert ctx["out"] == {host: {"status": 0, "stdout": f"1 {line}2 {line}"}}
    assert f'{host}: 1 it\'s $HOME `x` "y"\n' in lines
    assert f"{host}: 127.0.0.1 3\n" in lines
    await OnHosts([host], ["printf", "%s|", "{file}", "$HOME {{n}}", ""], save_as="out", **keys.options).work(ctx)
    assert ctx["out"][host]["stdout"] == f"{ctx['file']}|$HOME {{n}}||"


async def test_no_value_leaves_its_place(host: str, keys: Keys, seed: int) -> None:
    drawn = random.Random(seed)  # noqa: S311 - a test
    pieces = [
        "'",
        '"',
        "\\",
        "`id`",
        "$(id)",
        "$HOME",
        ";",
        "&",
        "|",
        "\n",
        " ",
        "*",
        "~",
        "-n",
        "#",
        "!",
        "é",
        "{v1}",
        "",
    ]
    values = {f"v{n}": "".join(drawn.choices(pieces, k=drawn.randint(0, 6))) for n in range(300)}
    command = f"printf '%s\\0' {' '.join(f'{{{name}}}' for name in values)}"
    await OnHosts([host], command, save_as="out", keep=100_000, **keys.options).work(ctx := Context(values))
    assert ctx["out"][host]["stdout"].split("\0")[:-1] == list(values.values())


async def test_output_is_bounded_and_need_not_be_text(host: str, keys: Keys) -> None:
    ctx = Context()
    lines = printing(ctx)
    command = "head -c 300000 /dev/zero | tr '\\0' x; printf '\\377\\n'; echo end"
    await OnHosts([host], command, save_as="out", keep=10, **keys.options).work(ctx)
    assert ctx["out"][host]["stdout"] == "xxxx\ufffd\nend\n"
    assert lines[-1] == f"{host}: end\n"
    assert max(map(len, lines)) < 8_300
    assert sum(line.count("x") for line in lines) == 300_000


async def test_the_command_has_no_input(host: str, keys: Keys) -> None:
    await OnHosts([host], "cat; echo done", save_as="out", **keys.options).work(ctx := Context())
    assert ctx["out"][host]["stdout"] == "done\n"


async def test_another_status_is_a_failure_that_shows_the_last_line(host: str, keys: Keys) -> None:
    with pytest.raises(ExceptionGroup, match=f"{host}: exited with 3: no space$"[:-1]):
        await OnHosts([host], "echo out; echo 'no space' >&2; exit 3", **keys.options).work(Context())
    await OnHosts([host], "exit 3", ok_codes=[0, 3], save_as="out", **keys.options).work(ctx := Context())
    assert ctx["out"] == {host: {"status": 3, "stdout": ""}}
    with pytest.raises(ExceptionGroup, match=f"{host}: (was ended by KILL|exited with 137)"):
        await OnHosts([host], "kill -9 $$", **keys.options).work(Context())
    with pytest.raises(ExceptionGroup, match=f"{host}: exited with 127: .*not found"):
        await OnHosts([host], ["no-such-program"], **keys.options).work(Context())


async def obey(command: str) -> None:
    """Do what a message says."""
    process = await asyncio.create_subprocess_shell(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    assert await process.wait() == 0


async def test_an_unknown_host_is_refused_with_the_command_that_adds_it(keys: Keys) -> None:
    need_sshd()
    server = Sshd(keys, known=False)
    keys.known_hosts.unlink()
    step = OnHosts([server.host], "true", **keys.options)
    with pytest.raises(ExceptionGroup, match="its host key is not known") as raised:
        await step.work(Context())
    said = str(raised.value.exceptions[0])
    assert f"{keys.known_hosts} has none for [127.0.0.1]:{server.port}, which offers ssh-ed25519 SHA256:" in said
    command = said.partition("then add it: ")[2]
    assert command == f"ssh-keyscan -p {server.port} 127.0.0.1 >> {keys.known_hosts}"
    await obey(command)
    await step.work(Context())
    # Another server in its place.
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    keys.known_hosts.write_text(f"[127.0.0.1]:{server.port} {other}")
    with pytest.raises(ExceptionGroup, match="ITS HOST KEY HAS CHANGED, somebody may be in between") as raised:
        await step.work(Context())
    command = str(raised.value.exceptions[0]).partition("on the host itself: ")[2]
    await obey(command)
    await step.work(Context())
    # A key of another kind is none, and a revoked one is none.
    other = asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_public_key().decode()
    keys.known_hosts.write_text(f"[127.0.0.1]:{server.port} {other}")
    with pytest.raises(ExceptionGroup, match="ITS HOST KEY HAS CHANGED"):
        await step.work(Context())
    server.stop()


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="no ssh-keygen here")
async def test_hashed_names_are_known_too(host: str, keys: Keys) -> None:
    command = ["ssh-keygen", "-H", "-f", str(keys.known_hosts)]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    assert keys.known_hosts.read_text().startswith("|1|")
    await OnHosts([host], "true", **keys.options).work(Context())


async def test_there_is_no_way_to_trust_everybody(keys: Keys, fleet: list[Host]) -> None:
    config = keys.directory / "config"
    config.write_text(f"StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nPort {fleet[0].port}\n")
    keys.known_hosts.write_text("")
    options = keys.options | {"ssh_config": str(config)}
    with pytest.raises(ExceptionGroup, match=rf"not known.*\[127\.0\.0\.1\]:{fleet[0].port}"):
        await OnHosts(["127.0.0.1"], "true", **options).work(Context())
    assert fleet[0].commands == []


async def test_what_can_not_be_reached_counts_as_failed(keys: Keys, fleet: list[Host]) -> None:
    dead = [f"127.0.0.1:{free_port()}", "no-such-host.invalid"]
    ctx = Context({"hosts": [*dead, fleet[0].host]})
    await OnHosts("hosts", "true", max_failures=2, save_as="out", **keys.options).work(ctx)
    assert all(ctx["out"][name]["error"].startswith("could not be reached") for name in dead)
    assert ctx["out"][fleet[0].host] == {"status": 0, "stdout": ""}
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        step = OnHosts([f"127.0.0.1:{silent.getsockname()[1]}"], "true", connect_timeout=0.5, **keys.options)
        with pytest.raises(ExceptionGroup, match=r"could not be reached within connect_timeout=0\.5 s"):
            await step.work(Context())


async def test_a_key_that_is_not_accepted_is_told(host: str, keys: Keys) -> None:
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(keys.identity)
    with pytest.raises(ExceptionGroup, match="could not be reached: Permission denied"):
        await OnHosts([host], "true", **keys.options).work(Context())
    with pytest.raises(Failed, match=r"identity='.*missing'"):
        await OnHosts([host], "true", identity=str(keys.directory / "missing")).work(Context())
    keys.known_hosts.write_text("nonsense\n")
    with pytest.raises(Failed, match=r"known_hosts: .* can't be read"):
        await OnHosts([host], "true", known_hosts=str(keys.known_hosts)).work(Context())


async def test_a_restart_does_only_what_is_left(keys: Keys, fleet: list[Host]) -> None:
    mark = keys.directory / "mark"
    mark.touch()
    ctx = Context({"hosts": names(fleet), "mark": str(mark)})
    # The first one to see the mark removes it and fails.
    step = OnHosts("hosts", "! rm {mark}", limit=1, save_as="out", **keys.options)
    with pytest.raises(ExceptionGroup, match="1 of 5 hosts failed, with max_failures=0, 4 not begun"):
        await step.work(ctx)
    await step.work(ctx)
    assert [len(server.commands) for server in fleet] == [2, 1, 1, 1, 1]
    assert list(ctx) == ["hosts", "mark", "out"]


async def test_no_further_batch_begins_when_too_many_have_failed(keys: Keys, fleet: list[Host]) -> None:
    # The third of the five fails: alone in the first batch is one, in the second are two.
    failing = fleet[2]
    failing.instead = _fail
    ctx = Context({"hosts": names(fleet)})
    step = OnHosts("hosts", "echo {host}", serial=[1, 2], save_as="out", **keys.options)
    with pytest.raises(ExceptionGroup, match=f"1 of 5 hosts failed, with max_failures=0, 2 not begun: {failing.host}"):
        await step.work(ctx)
    assert [len(server.commands) for server in fleet] == [1, 1, 1, 0, 0]
    assert sorted(ctx) == sorted(["hosts", f"out[{fleet[0].host}]", f"out[{fleet[1].host}]"])
    await OnHosts("hosts", "true", serial=[1, 2], save_as="out", max_failures="20%", **keys.options).work(ctx)
    assert [len(server.commands) for server in fleet] == [1, 1, 2, 1, 1]
    assert [ctx["out"][server.host]["status"] for server in fleet] == [0, 0, 7, 0, 0]
    assert ctx["out"][failing.host] == {"status": 7, "stdout": "", "error": "exited with 7"}


async def _fail(process: Any) -> None:
    process.exit(7)


@pytest.mark.parametrize(("serial", "limit", "peak"), [(None, 10, 5), (None, 2, 2), (3, 10, 3), ("40%", 10, 2)])
async def test_so_many_at_once_and_no_more(keys: Keys, fleet: list[Host], serial: Any, limit: int, peak: int) -> None:
    running = [0, 0]
    step = OnHosts(names(fleet), "true", serial=serial, limit=limit, **keys.options)
    held = asyncio.Event()

    async def hold(process: Any) -> None:
        running[0] += 1
        running[1] = max(running)
        if running[1] == peak:
            held.set()
        await held.wait()
        running[0] -= 1
        process.exit(0)

    for server in fleet:
        server.instead = hold
    await step.work(Context())
    assert running == [0, peak]


@pytest.mark.parametrize("stubborn", [False, True])
async def test_one_that_is_cancelled_ends_the_command_there(host: str, keys: Keys, *, stubborn: bool) -> None:
    number = f"9{free_port()}.5"
    trap = "trap '' TERM; " if stubborn else ""
    step = OnHosts([host], f"{trap}echo begun; sleep {number}; sleep {number}", **keys.options)
    task = asyncio.create_task(step.work(Context()))
    async with asyncio.timeout(30):
        while not _sleeping(number):
            await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(30):
        while _sleeping(number):
            await asyncio.sleep(0.02)


def _sleeping(number: str) -> list[int]:
    return processes(f"sleep\0{number}")


async def test_a_connection_that_is_lost_leaves_it_unknown(keys: Keys, fleet: list[Host]) -> None:
    async def lose(process: Any) -> None:
        process.channel.get_connection().abort()

    fleet[0].instead = lose
    with pytest.raises(ExceptionGroup, match="connection was lost"):
        await OnHosts([fleet[0].host], "true", **keys.options).work(Context())


async def test_what_the_context_does_not_have_is_found_out_before_anything_runs(keys: Keys, fleet: list[Host]) -> None:
    with pytest.raises(InvalidInput, match=r"\{missing\}"):
        await OnHosts(names(fleet), "echo {host} {missing}", **keys.options).work(Context())
    with pytest.raises(InvalidInput, match="'a b'"):
        await OnHosts("hosts", "true", **keys.options).work(Context({"hosts": [fleet[0].host, "a b"]}))
    assert fleet[0].commands == []
