"""A database that goes away while somebody looks."""

import signal
from pathlib import Path

import pytest

from awfe.testing.proxy import Proxy
from tests.cli.conftest import Cli, book
from tests.databases import Database


@pytest.mark.databases("mysql")
@pytest.mark.timeout(120)  # it starts three processes
async def test_a_watch_outlives_an_outage(awfe: Cli, database: Database, tmp_path: Path) -> None:
    await awfe("create", book(tmp_path / "book.yaml", "shell: echo", name="w"))
    async with Proxy(database.url) as proxy:
        command = ("watch", "--interval", "0.05", "--db", proxy.url)
        watching = await awfe.start(*command, AWFE_CONNECT_RETRY_FOR="1")
        await watching.until("w: pending")
        await proxy.cut()
        assert watching.process.stderr is not None
        while b"no answer for" not in (line := await watching.process.stderr.readline()):
            assert line
        await proxy.mend()
        await awfe("run", "w")
        await watching.until("w: completed")
        watching.process.send_signal(signal.SIGINT)
        ended = await watching.end()
    assert (ended.code, "Traceback" in ended.err) == (0, False)
