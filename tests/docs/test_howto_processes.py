"""The how-to pages about several processes and about deploys: the worker of the page, as the program that it is."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from awfe import Engine, SchemaOutdated, Workflow
from awfe.domain import registry
from awfe.testing import violations
from tests.databases import Database
from tests.docs.server_pages import ServerPage

PAGE = ServerPage("multi-process.md", "workflows")
IMAGES, MANY = ([f"{number}.jpg" for number in range(count)] for count in (12, 600))
Process = subprocess.Popen[bytes]
Work = Callable[[], Process]


@pytest.fixture
def work(database: Database, tmp_path: Path) -> Iterator[Work]:
    """Return a function that starts a worker, and returns when it is ready, or has ended."""
    (tmp_path / "worker.py").write_text(PAGE.block("worker.py"))
    environment = {**os.environ, "AWFE_DATABASE_URL": database.url}
    started: list[Process] = []

    def work() -> Process:
        process = subprocess.Popen([sys.executable, "worker.py"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() in (b"ready\n", b"")
        return process

    yield work
    for process in started:
        process.kill()
        process.communicate()


async def create(engine: Engine, directory: Path, names: list[str], images: list[str] = IMAGES) -> None:
    """Create workflows as the web process of the page does; this process does not know their steps afterwards."""
    (directory / "web.py").write_text(PAGE.block("web.py"))
    sys.path.insert(0, str(directory))
    try:
        web = import_module("web")
        await asyncio.gather(*(web.create(engine, name, images) for name in names))
    finally:
        sys.path.remove(str(directory))
        for module in ("web", "worker"):
            del sys.modules[module]
        for step in ("photos.Resize", "photos.Publish"):
            del registry._classes[step]


async def all_are(engine: Engine, state: str, names: list[str]) -> list[Workflow]:
    """Return the workflows as soon as they are in a state."""
    async with asyncio.timeout(60):
        return await asyncio.gather(*(_is(engine, state, name) for name in names))


async def _is(engine: Engine, state: str, name: str) -> Workflow:
    while (workflow := await engine.get(name)).state != state:
        assert workflow.state != "error", workflow
        await asyncio.sleep(0.05)
    return workflow


async def test_multi_process(database: Database, work: Work, tmp_path: Path) -> None:
    """Two workers share the work; one is told from here to stop a workflow, and one is killed; nothing is lost."""
    names = [f"album {number}" for number in range(6)]
    async with Engine(database.url) as web:
        workers = [work(), work()]
        await create(web, tmp_path, ["stopped"], MANY)
        await create(web, tmp_path, names)
        await _is(web, "running", "stopped")
        await web.stop("stopped")
        assert (await web.wait("stopped")).state == "stopped"
        await _is(web, "completed", names[0])
        workers[0].kill()
        done = await all_are(web, "completed", names)
        assert all(workflow.context["done"] == IMAGES for workflow in done)
        by = {event.actor for name in [*names, "stopped"] for event in await web.history(name) if event.cause == "run"}
        assert {int(str(owner).split(":")[1]) for owner in by} == {worker.pid for worker in workers}
        assert (await web.get("stopped")).state == "stopped"
    assert await violations(database.url) == []


async def test_multi_process_that_does_not_know_a_step(
    database: Database, work: Work, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is due it passes over; what a dead process ran it leaves in error, although its step is declared rerun."""
    async with Engine(database.url) as engine:
        worker = work()
        await create(engine, tmp_path, ["orphan"], MANY)
        await _is(engine, "running", "orphan")
        worker.kill()
        worker.wait()
        await create(engine, tmp_path, ["due"])
        assert set((await engine.recover()).refused) == {"due", "orphan"}
        assert [str(each.state) for each in await engine.list()] == ["pending", "error"]
        assert "no step is registered as 'photos.Resize'" in caplog.text


async def test_deploy(database: Database, work: Work, tmp_path: Path) -> None:
    """Workers are replaced under load: each ends in order, and all is completed without anybody."""
    names = [f"album {number}" for number in range(8)]
    async with Engine(database.url) as web:
        old = [work(), work()]
        await create(web, tmp_path, names)
        await _any_is(web, "running")
        for process in old:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        assert {str(each.state) for each in await web.list()} <= {"paused", "pending", "completed"}
        work()
        done = await all_are(web, "completed", names)
        assert all(workflow.context["done"] == IMAGES for workflow in done)
        causes = {str(event.cause) for name in names for event in await web.history(name)}
        assert "shutdown" in causes
    assert await violations(database.url) == []


async def test_deploy_of_a_newer_awfe(database: Database, work: Work) -> None:
    """An older program refuses newer tables as soon as it starts."""
    async with Engine(database.url):
        pass
    await database.execute("UPDATE awfe_meta SET version = 99")
    with pytest.raises(SchemaOutdated, match="upgrade awfe"):
        await Engine(database.url).open()
    assert work().wait(30) == 1


async def _any_is(engine: Engine, state: str) -> None:
    async with asyncio.timeout(30):
        while not await engine.list(state=state):
            await asyncio.sleep(0.02)
