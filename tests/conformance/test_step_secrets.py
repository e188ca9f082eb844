"""Secrets in requests and in commands on hosts: used, and never seen."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest

from awfe import Engine, StepError
from awfe.steps import ForEach, Http, OnHosts, Secret
from tests.databases import Database
from tests.sshd import Keys, hosts
from tests.web import Web, serving

TOKEN = "t0p-s3cret/+ &"  # noqa: S105 - what is looked for


@pytest.fixture
async def web(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Web]:
    """Yield a server that is asked without a proxy, and a secret in the environment."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("TOKEN", TOKEN)
    async with serving() as server:
        yield server


async def saved(database: Database) -> str:
    """Return all that the tables have of steps, attempts and events."""
    tables = ("awfe_step", "awfe_attempt", "awfe_event", "awfe_workflow")
    return repr([await database.execute(f"SELECT * FROM {table}") for table in tables])


async def test_requests_have_them_and_nobody_else(
    engine: Engine, database: Database, web: Web, caplog: pytest.LogCaptureFixture
) -> None:
    web.answers["/echo"] = (403, {}, f"{TOKEN} is not allowed".encode())
    web.answers["/ok"] = (200, {}, b"fine")
    step = Http(
        "POST",
        f"{web.url}/{{item}}",
        headers={"X-Token": Secret("TOKEN"), "Authorization": "Bearer {token}"},
        params={"t": Secret("TOKEN")},
        json={"token": Secret("TOKEN"), "list": ["{token}"]},
        save_as="told",
    )
    steps = [ForEach(["ok"], step, save_as="all"), ForEach(["echo"], step)]
    await engine.create_workflow("w", {"token": Secret("TOKEN")}, steps)
    with pytest.raises(StepError, match=r"answered 403 Because: \*\*\* is not allowed") as raised:
        await engine.run("w")
    for request in web.asked:
        assert request.headers["x-token"] == TOKEN
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        assert request.target.endswith("?t=t0p-s3cret%2F%2B+%26")
        assert request.body.count(b't0p-s3cret/+ &"') == 2
    workflow = await engine.get("w")
    assert workflow.context["all"] == [{"told": {"status": 200, "text": "fine"}}]
    for shown in (await saved(database), repr(raised.value.__cause__), repr(workflow), caplog.text):
        assert "s3cret" not in shown


async def test_an_answer_that_has_one_is_not_saved(engine: Engine, database: Database, web: Web) -> None:
    step = Http("POST", f"{web.url}/x", json={"t": Secret("TOKEN")}, save_as="told")
    await engine.create_workflow("w", {}, [step])
    with pytest.raises(StepError, match="holds the text of a secret"):
        await engine.run("w")
    assert "s3cret" not in await saved(database)


async def test_commands_have_them_and_nobody_else(
    engine: Engine, database: Database, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del web
    keys = Keys(tmp_path)
    monkeypatch.setenv("PASSPHRASE", "0pen sesame")
    key = asyncssh.read_private_key(keys.identity)
    key.write_private_key(keys.identity, passphrase="0pen sesame")  # noqa: S106 - as above
    async with hosts(keys, 2) as made:
        names = [server.host for server in made]
        options = keys.options | {"passphrase": Secret("PASSPHRASE")}
        command = f"printf %s {{token}} > {tmp_path}/got; echo {{token}}; echo {{token}} >&2; exit {{code}}"
        await engine.create_workflow(
            "w", {"token": Secret("TOKEN"), "code": 3}, [OnHosts(names, command, limit=1, **options)]
        )
        with pytest.raises(StepError, match=r"exited with 3: \*\*\*"):
            await engine.run("w")
        workflow = await engine.get("w")
        assert workflow.steps[0].output.count("***") == 2
        words = OnHosts(names, ["test", Secret("TOKEN"), "=", TOKEN[:3] + "{rest}"], save_as="out", **options)
        await engine.create_workflow("v", {"rest": TOKEN[3:]}, [words])
        assert (await engine.run("v")).state == "completed"
        options["passphrase"] = Secret("TOKEN")
        await engine.create_workflow("u", {}, [OnHosts(names, "true", **options)])
        with pytest.raises(StepError, match="identity="):
            await engine.run("u")
    assert (tmp_path / "got").read_text() == TOKEN
    shown = await saved(database)
    assert "sesame" not in shown
    assert TOKEN not in shown
