"""Whatever name a row holds, of a step's class or of an engine, it is only ever looked up."""

import builtins
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from awfe import Engine, InvalidState, StepError, StepNotFound
from tests.conformance.helpers import ORPHAN
from tests.conformance.steps import World
from tests.databases import Database
from tests.durability.wrecks import RESUMABLE, Wreck, attacked, forge, wrecked


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[Engine]:
    """Yield an engine on a database that takes any row."""
    async with attacked(database) as engine:
        yield engine


@pytest.fixture
def world(engine: Engine) -> World:  # noqa: ARG001 - it begins with the engine
    """Return what the steps of this test share."""
    return World.now


@pytest.fixture
def tripwires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Lay a module that may not be imported and functions that may not be called; returns who stepped on them."""
    stepped: list[str] = []
    (tmp_path / "awfe_tripwire.py").write_text("raise AssertionError('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for module, name in ((os, "system"), (builtins, "breakpoint"), (os, "remove")):
        monkeypatch.setattr(module, name, lambda *_given, name=name, **_named: stepped.append(name))

    def seen(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "import" and arguments[0].partition(".")[0] in ("awfe_tripwire", "antigravity", "no_such_module"):
            stepped.append(arguments[0])
        if event == "exec" and getattr(arguments[0], "co_filename", "").startswith("<string>"):
            stepped.append(event)

    listening = True
    sys.addaudithook(lambda event, arguments: seen(event, arguments) if listening else None)
    yield stepped
    listening = False


IMPLS = [
    *("os:system", "os.system", "builtins:eval", "builtins:breakpoint", "awfe.engine:Engine", "awfe_tripwire:Step"),
    *("awfe_tripwire", "antigravity:fly", "no_such_module:x", "__main__:x", "__import__('os').remove('x')"),
    *(
        "tests.conformance.steps:World",
        "awfe.domain.step:BaseStep",
        "",
        " ",
        ":",
        "\N{SNOWMAN}:\n\x1b[31m",
        "../../x:y",
    ),
    *(
        "{0.__class__}",
        "%s%n",
        "x" * 255,
        "a:" + "b." * 126,
        "tests.conformance.steps:Note ",
        "TESTS.CONFORMANCE.STEPS:NOTE",
    ),
]


async def test_what_a_row_names_is_neither_imported_nor_run(
    engine: Engine, database: Database, world: World, tripwires: list[str]
) -> None:
    wide = [f"awfe_tripwire:{'x' * 1_000_000}"] if database.dialect == "sqlite" else []
    sql = ("UPDATE awfe_step SET impl = :impl WHERE workflow_id = :id AND position = 3", RESUMABLE)
    made = await wrecked(database, [Wreck("", sql, frozenset(), {"impl": impl}) for impl in IMPLS + wide])
    # What eval and pickle would be given, were there any.
    args = '{"name": "two", "__class__": "os:system", "__reduce__": "os:system", "py/object": "awfe_tripwire.Step"}'
    sql = ("UPDATE awfe_step SET args = :args WHERE workflow_id = :id AND position = 2", RESUMABLE)
    made |= await wrecked(database, [Wreck("", sql, frozenset(), {"args": args})], prefix="args")
    world.calls.clear()
    for name, wreck in made.items():
        for run in (engine.run, engine.start):
            with pytest.raises(StepNotFound, match=r"no step is registered|don't fit Note") as failure:
                await run(name)
            assert failure.value.workflow == name
            assert len(str(failure.value)) < 3_000
            assert "\x1b" not in str(failure.value)
        assert (await engine.get(name)).steps[2].impl == wreck.values.get("impl", "tests.conformance.steps:Note")
    recovered = await engine.recover()
    assert recovered.started == ()
    assert set(recovered.refused) == set(made)
    assert world.calls == []
    assert tripwires == []
    assert "awfe_tripwire" not in sys.modules


OWNERS = [
    *("a:b:../../victim", "x:dir/../victim", "x:/etc/passwd", "victim", "x:victim", "x:dir", "", ":", "x:" + "y" * 150),
    *("../../victim:0123456789abcdef", "x:0123456789abcdef/../victim", "x:0123456789abcdef\n", "x:0123456789ABCDEF"),
    *("x:0123456789abcdef' OR 1=1 --", "\N{SNOWMAN}", "%s", "x:\x1b[31m"),
]


async def test_an_owner_is_never_a_path(engine: Engine, database: Database, tmp_path: Path) -> None:
    """On SQLite the name of an engine leads to its files, on servers to its lock and its bell."""
    (tmp_path / "awfe.db-awfe-dir").mkdir()
    kept = [tmp_path / name for name in ("victim", "awfe.db-awfe-victim", "awfe.db-awfe-", "awfe.db-awfe-dir/x")]
    for path in kept:
        path.write_text("precious")
    sql = ("UPDATE awfe_workflow SET owner = :owner, request = 'stop' WHERE id = :id",)
    forged = [Wreck("", sql, frozenset(), {"owner": owner}) for owner in OWNERS]
    for name in await wrecked(database, forged, ORPHAN, prefix="asked"):
        with pytest.raises(InvalidState):
            await engine.stop(name)
    for name in await wrecked(database, forged, ORPHAN, prefix="awaited"):
        assert (await engine.wait(name)).state == "error"
    for name in await wrecked(database, forged, ORPHAN, prefix="gone"):
        await engine.delete(name)
    made = await wrecked(database, forged, ORPHAN, prefix="recovered")
    assert set((await engine.recover()).refused) == set(made)
    for path in kept:
        assert path.read_text() == "precious"


async def test_a_context_larger_than_allowed_can_be_seen_and_mended(engine: Engine, database: Database) -> None:
    huge = '{"set": {"a": "' + "x" * (5 << 20) + '"}}'
    sql = ("UPDATE awfe_event SET changes = :value WHERE workflow_id = :id AND cause = 'created'",)
    (name,) = await wrecked(database, [Wreck("", sql, frozenset(), {"value": huge})])
    await forge(database, "UPDATE awfe_attempt SET changes = NULL")
    assert len((await engine.get(name)).context["a"]) == 5 << 20
    with pytest.raises(StepError, match="more than max_context_bytes"):
        await engine.run(name)
    await engine.update_context(name, {}, unset=["a"])
    assert (await engine.restart(name)).state == "completed"
