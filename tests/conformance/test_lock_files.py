"""The files beside an SQLite database, by which its engines see each other live."""

from pathlib import Path

import pytest

from awfe import Engine, StoreUnavailable, WorkflowLocked
from tests.conformance.conftest import OpenEngine
from tests.conformance.helpers import ORPHAN
from tests.conformance.steps import Note
from tests.databases import Database

pytestmark = pytest.mark.databases("sqlite")


async def test_the_owner_of_a_file_that_can_not_be_looked_into_lives_for_all_we_know(
    open_engine: OpenEngine, database: Database, tmp_path: Path
) -> None:
    """A link is no file of ours, and what it leads to is none of our business."""
    engine = await open_engine()
    await engine.create_workflow("w", {}, [Note("one")])
    await database.execute(ORPHAN, {"id": 1})
    strange = tmp_path / "awfe.db-awfe-0123456789abcdef"
    strange.symlink_to(tmp_path / "elsewhere")
    assert (await engine.recover()).refused == ()
    with pytest.raises(WorkflowLocked, match="gone:1"):
        await engine.run("w")
    strange.unlink()
    assert (await engine.recover()).refused == ("w",)


async def test_a_database_beside_which_there_can_be_no_file_is_store_unavailable(tmp_path: Path) -> None:
    """SQLite's own files have shorter names."""
    engine = Engine(f"sqlite:///{tmp_path}/{'x' * 240}", connect_retry_for=0)
    with pytest.raises(StoreUnavailable, match="File name too long"):
        await engine.open()
