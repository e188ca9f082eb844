"""The checks for databases of others: they pass on ours with every kind of lock, and fail where something is broken."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import make_url

from awfe import ConfigError, Engine, StoreUnavailable, lifecycle
from awfe.persistence.locks.base import Held
from awfe.persistence.locks.dedicated import DedicatedLock
from awfe.settings import LOCKS
from awfe.testing.conformance import CHECKS, Check, locking
from tests.conformance.steps import Note
from tests.databases import Database
from tests.durability import mutants

BY_NAME = {check.__name__: check for check in CHECKS}
SECRET = "s3cr3t"  # noqa: S105 - what must not be seen
TABLES = ("awfe_workflow", "awfe_step", "awfe_attempt", "awfe_event", "awfe_signal", "awfe_tombstone")


@pytest.mark.parametrize("locks", LOCKS)
@pytest.mark.parametrize("check", CHECKS, ids=list(BY_NAME))
async def test_each_holds_and_leaves_nothing(
    check: Check, locks: str, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with Engine(database.url) as engine:
        await engine.create_workflow("theirs", {}, [Note("one")])
    before = [await _count(database, table) for table in TABLES]
    await check(database.url, locks=locks)
    assert [await _count(database, table) for table in TABLES] == before
    assert [each.getMessage() for each in caplog.records if each.name == "awfe.testing.conformance"] == []


async def test_the_command_line_says_what_holds_to_a_user_without_privileges(database: Database) -> None:
    async with _with_password(database) as url:
        status, said = await _command(url)
    assert status == 0, said
    assert said.count("\nok ") == len(CHECKS)
    assert said.endswith(f"all {len(CHECKS)} hold\n")
    assert SECRET not in said


@pytest.mark.databases("mysql", "postgresql")
async def test_the_command_line_says_what_does_not_hold(database: Database) -> None:
    await _make_tables(database)
    await database.execute(_WHOLE_SECONDS[database.dialect])
    async with _with_password(database) as url:
        status, said = await _command(url, "--locks", "lease", "--lock-url", url)
    assert status == 1, said
    assert "\nFAILED  times keep microseconds: the time 2222-02-28 23:59:59.999999-11:30 has come back as " in said
    assert said.endswith(f"1 of {len(CHECKS)} do not hold\n")
    assert SECRET not in said


async def test_the_command_line_ends_with_2_where_there_is_no_database() -> None:
    status, said = await _command(f"mysql://u:{SECRET}@127.0.0.1:1/d?password={SECRET}")
    assert status == 2
    assert "127.0.0.1" in said
    assert SECRET not in said
    assert "Traceback" not in said


async def test_wrong_settings_are_no_fault_of_the_database(database: Database) -> None:
    with pytest.raises(ConfigError, match="locks='none'"):
        await CHECKS[0](database.url, locks="none")


# --- each of these databases lacks something, and a check says so


_FOLDED = {
    "sqlite": "CREATE UNIQUE INDEX folded ON awfe_workflow (name COLLATE NOCASE)",
    "mysql": "ALTER TABLE awfe_workflow MODIFY name VARCHAR(200) COLLATE utf8mb4_general_ci NOT NULL",
    "postgresql": "CREATE UNIQUE INDEX folded ON awfe_workflow (lower(name))",
}
_WHOLE_SECONDS = {
    "mysql": "ALTER TABLE awfe_workflow MODIFY scheduled_at DATETIME NULL",
    "postgresql": "ALTER TABLE awfe_workflow ALTER scheduled_at TYPE TIMESTAMP(0)",
}


async def test_names_without_case(database: Database) -> None:
    await _make_tables(database)
    await database.execute(_FOLDED[database.dialect])
    await _fails("names_are_compared_by_their_bytes", database.url, "awfe takes two workflows for one")


@pytest.mark.databases("mysql", "postgresql")
async def test_times_without_microseconds(database: Database) -> None:
    await _make_tables(database)
    await database.execute(_WHOLE_SECONDS[database.dialect])
    await _fails("times_keep_microseconds", database.url, "what waits is woken at another time")


@pytest.mark.databases("mysql")
async def test_tables_without_transactions(database: Database) -> None:
    url = make_url(database.url).update_query_dict({"init_command": "SET default_storage_engine = MyISAM"})
    await _fails(
        "a_transactional_step_commits_with_its_end",
        url.render_as_string(hide_password=False),
        "a transactional step failed, and its rows were committed",
    )


class _NoLock(Held):
    async def regain(self) -> bool:
        return True

    async def release(self) -> None:
        pass


class _NoLocks:
    """Locks that exclude nobody."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def take(self, _workflow_id: int) -> Held | None:
        return _NoLock()

    async def is_held(self, _workflow_id: int, _owner: str | None) -> bool:
        return False


class _LocksForEver(_NoLocks):
    """Locks that nobody gives back."""

    held: dict[int, object]

    async def take(self, workflow_id: int) -> Held | None:
        return _NoLock() if self.held.setdefault(workflow_id, self) is self else None

    async def is_held(self, workflow_id: int, _owner: str | None) -> bool:
        return workflow_id in self.held


async def test_locks_that_exclude_nobody(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "locks_for", lambda *_about: _NoLocks())
    await _fails(
        "one_engine_runs_a_workflow", database.url, "a second engine was not told that a workflow runs already"
    )


async def test_locks_that_are_not_given_back(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_LocksForEver, "held", {}, raising=False)
    monkeypatch.setattr(lifecycle, "locks_for", lambda *_about: _LocksForEver())
    await _fails("a_lock_is_given_back", database.url, "a workflow was still locked after its run had ended")


async def test_locks_that_outlast_their_process(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_LocksForEver, "held", {}, raising=False)
    monkeypatch.setattr(lifecycle, "locks_for", lambda *_about: _LocksForEver())
    monkeypatch.setattr(locking, "_SOON", 1.0)
    await _fails(
        "the_lock_of_a_dead_process_is_free", database.url, "after its process had died, a workflow was locked"
    )


@pytest.mark.databases("mysql", "postgresql")
async def test_a_lost_lock_that_nobody_takes_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_lock: DedicatedLock) -> bool:
        raise StoreUnavailable

    monkeypatch.setattr(DedicatedLock, "regain", never)
    sentence = "a lock whose connection had ended was not taken again"
    await _fails("a_lock_that_is_lost_is_taken_again", database.url, sentence)


async def test_without_a_fence(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    mutants.without_fence(monkeypatch)
    await _fails("a_runner_that_was_taken_over_writes_nothing", database.url, "a runner that was taken over went on")


async def test_reads_of_a_replica_that_lags_behind(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    get, seen = Engine.get, {}

    async def late(self: Engine, name: str) -> Any:
        seen[name], before = await get(self, name), seen.get(name)
        return before or seen[name]

    monkeypatch.setattr(Engine, "get", late)
    await _fails("a_commit_is_seen_at_once", database.url, "a change that was committed was not seen")


# --- what they use


async def _fails(name: str, url: str, sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        await BY_NAME[name](url)


async def _make_tables(database: Database) -> None:
    async with Engine(database.url):
        pass


async def _count(database: Database, table: str) -> int:
    return int((await database.execute(f"SELECT COUNT(*) FROM {table}"))[0][0])


async def _command(url: str, *options: str) -> tuple[int, str]:
    """Return the exit status of the command line, and what it said anywhere."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "awfe.testing.conformance", url, *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return int(process.returncode or 0), said.decode()


@asynccontextmanager
async def _with_password(database: Database) -> AsyncIterator[str]:
    """Yield a URL for a user who may use this database only, and has a password."""
    if database.dialect == "sqlite":
        yield database.url
        return
    url = make_url(database.url)
    user = str(url.database)
    if database.dialect == "mysql":
        made = [f"CREATE USER {user} IDENTIFIED BY '{SECRET}'", f"GRANT ALL ON {user}.* TO {user}"]
        gone = [f"DROP USER {user}"]
    else:
        made = [f"CREATE ROLE {user} LOGIN PASSWORD '{SECRET}'", f"GRANT ALL ON SCHEMA public TO {user}"]
        made += [f"GRANT ALL ON ALL {kind} IN SCHEMA public TO {user}" for kind in ("TABLES", "SEQUENCES")]
        gone = [f"DROP OWNED BY {user}", f"DROP ROLE {user}"]
    for statement in made:
        await database.execute(statement)
    try:
        yield url.set(username=user, password=SECRET).render_as_string(hide_password=False)
    finally:
        for statement in gone:
            await database.execute(statement)
