"""OnHosts in an engine: what is done on which host is saved, whatever ends the run."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from awfe import Engine, StepError, StepTimeout, WorkflowStopped
from awfe.steps import OnHosts
from tests.conformance.helpers import Start, killed
from tests.sshd import Host, Keys, Sshd, hosts, need_sshd


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """Return the keys of the test."""
    return Keys(tmp_path)


@pytest.fixture
async def fleet(keys: Keys) -> AsyncIterator[list[Host]]:
    """Yield four hosts."""
    async with hosts(keys, 4) as made:
        yield made


class Marks:
    """A file that the commands write to, and files that let those end that wait for one."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "marks"
        self.path.touch()

    def command(self) -> str:
        """Return what a host does: it tells that it begins, waits while it is held, and tells that it ends."""
        # What it says on its output when it is ended would end it sooner, where nobody reads that any more.
        return (
            f"exec >> {self.path} 2> /dev/null; trap 'echo cut; exit 1' TERM; echo begun; "
            f"while [ -e {self.path}.held ]; do sleep 0.02; done; echo ended"
        )

    def count(self, word: str) -> int:
        """Return how often a word begins a line."""
        return sum(line.startswith(word) for line in self.path.read_text().splitlines())

    def hold(self) -> None:
        """Let commands not end."""
        Path(f"{self.path}.held").touch()

    def let_go(self) -> None:
        """Let them end."""
        Path(f"{self.path}.held").unlink()

    async def until(self, word: str, count: int) -> None:
        """Wait until a word begins so many lines."""
        async with asyncio.timeout(60):
            while self.count(word) < count:
                await asyncio.sleep(0.02)


@pytest.fixture
def marks(tmp_path: Path) -> Marks:
    """Return the marks of the test."""
    return Marks(tmp_path)


async def test_what_is_done_is_not_done_again(engine: Engine, keys: Keys, fleet: list[Host]) -> None:
    async def fail(process: object) -> None:
        process.exit(4)  # type: ignore[attr-defined]  # asyncssh's

    fleet[2].instead = fail
    names = [server.host for server in fleet]
    step = OnHosts("hosts", "echo {version}", serial=[1, "50%"], save_as="done", **keys.options)
    await engine.create_workflow("w", {"hosts": names, "version": "1.2"}, [step])
    with pytest.raises(
        StepError, match=f"1 of 4 hosts failed, with max_failures=0, 1 not begun: {names[2]}: exited with 4"
    ):
        await engine.run("w")
    workflow = await engine.get("w")
    assert workflow.context[f"done[{names[1]}]"] == {"status": 0, "stdout": "1.2\n"}
    assert f"{names[1]}: 1.2\n" in workflow.steps[0].output
    fleet[2].instead = None
    workflow = await engine.restart("w")
    assert workflow.context["done"] == {name: {"status": 0, "stdout": "1.2\n"} for name in names}
    assert [len(server.commands) for server in fleet] == [1, 1, 2, 1]


@pytest.mark.parametrize("verb", ["stop", "timeout"])
async def test_what_cuts_it_off_ends_the_commands(
    engine: Engine, keys: Keys, fleet: list[Host], marks: Marks, verb: str
) -> None:
    marks.hold()
    names = [server.host for server in fleet]
    step = OnHosts(names, marks.command(), limit=2, **keys.options)
    await engine.create_workflow("w", {}, [step.using(timeout=4) if verb == "timeout" else step])
    handle = await engine.start("w")
    await marks.until("begun", 2)
    if verb == "stop":
        await engine.stop("w")
    with pytest.raises(WorkflowStopped if verb == "stop" else StepTimeout):
        await handle
    await marks.until("cut", 2)
    marks.let_go()
    assert marks.count("ended") == 0
    if verb == "stop":
        assert (await engine.restart("w")).state == "completed"
        assert (marks.count("begun"), marks.count("ended")) == (6, 4)


async def test_killed_in_the_middle_it_goes_on_with_the_rest(
    engine: Engine, keys: Keys, marks: Marks, start: Start
) -> None:
    """The commands of the dead one end before others begin: so nothing runs twice at once."""
    need_sshd()
    servers = [Sshd(keys) for _ in range(3)]
    names = [server.host for server in servers]
    marks.hold()
    # "client port server port": only the second one waits.
    which = f"set -- $SSH_CONNECTION; echo $4 >> {marks.path}.ports; [ $4 = {servers[1].port} ]"
    command = f"if {which}; then {marks.command()}; fi"
    step = OnHosts(names, command, limit=1, save_as="out", **keys.options)
    await engine.create_workflow("w", {}, [step])
    process = await start("run", "w")
    await marks.until("begun", 1)
    await killed(process)
    await marks.until("cut", 1)
    marks.let_go()
    assert (await engine.wait("w")).state == "error"
    workflow = await engine.restart("w")
    assert workflow.context["out"] == {name: {"status": 0, "stdout": ""} for name in names}
    ran = Path(f"{marks.path}.ports").read_text().split()
    assert ran == [str(servers[number].port) for number in (0, 1, 1, 2)]
    for server in servers:
        server.stop()
