"""A service is deployed anew under load: only what ran too long, and may not be repeated, needs a person."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from awfe import WorkflowState
from awfe.testing import violations
from tests.conformance.conftest import OpenEngine
from tests.conformance.helpers import create, lines
from tests.databases import Database
from tests.docs.pages import ROOT
from tests.docs.services import Service

SHORT = [f"short {number}" for number in range(20)]
LONG = [f"long {number}" for number in range(15)]
RERUN = [f"rerun {number}" for number in range(15)]
COMMAND = f"uvicorn --app-dir {ROOT} tests.conformance.loaded:app"


@pytest.fixture
def services() -> Iterator[list[Service]]:
    """Yield a list of services, which are ended afterwards."""
    started: list[Service] = []
    yield started
    for service in started:
        service.end()


async def test_sigterm_in_the_middle_of_fifty_running_workflows(
    database: Database, open_engine: OpenEngine, services: list[Service], tmp_path: Path
) -> None:
    environ = {"DATABASE_URL": database.url, "AWFE_MAX_RUNNING": "50", "AWFE_LOCKS": "shared"}
    engine = await open_engine(locks="shared")
    names = [*SHORT, *LONG, *RERUN]
    for name in names:
        await create(engine, tmp_path / name, rerun=name in RERUN, name=name)
    services.append(Service(COMMAND, tmp_path, environ))
    assert services[0].post("/start", names) == len(names) == 50
    for name in names:
        await lines(tmp_path / name, 2)

    services[0].terminate()
    services[0].told("Waiting for application shutdown")
    for name in SHORT:
        Path(f"{tmp_path / name}.two").touch()
    services[0].ended()
    workflows = {name: await engine.get(name) for name in names}
    states = {name: (workflow.state.value, workflow.steps[1].state.value) for name, workflow in workflows.items()}
    # One whose step ended before the engine had asked for a pause has come further.
    assert {states[name] for name in SHORT} <= {("paused", "completed"), ("completed", "completed")}
    assert {states[name] for name in LONG} == {("error", "interrupted")}
    assert {states[name] for name in RERUN} == {("paused", "pending")}

    for name in (*LONG, *RERUN):
        Path(f"{tmp_path / name}.two").touch()
    services.append(Service(COMMAND, tmp_path, environ))
    async with asyncio.timeout(60):
        while (await engine.stats())[WorkflowState.COMPLETED] < len(SHORT) + len(RERUN):
            await asyncio.sleep(0.05)
    assert {(await engine.get(name)).state.value for name in LONG} == {"error"}
    for name in LONG:
        await engine.restart(name)
    services[1].terminate()
    services[1].ended()
    for name in names:
        twos = ["two"] if name in SHORT else ["two", "two"]
        assert [text for text, *_ in await lines(tmp_path / name, 3)] == ["one", *twos, "three"]
    assert await violations(database.url) == []
