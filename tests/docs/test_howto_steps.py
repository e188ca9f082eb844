"""The how-to pages about the steps of live workflows, and about those of other systems: read on each database."""

import asyncio
from pathlib import Path

import pytest

from awfe.testing import violations
from tests.databases import Database
from tests.docs.pages import DOCS, Reader


def read(page: str, url: str, database: Database, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what a page says, on a database of the test's."""
    text = (DOCS / "howto" / page).read_text()
    assert text.count(url) == 1
    (directory / page).write_text(text.replace(url, database.url))
    monkeypatch.chdir(directory)
    Reader(directory / page, directory).read()
    assert asyncio.run(violations(database.url)) == []


def test_change_steps(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read("change-steps.md", "sqlite:///releases.db", database, tmp_path, monkeypatch)


def test_migrate_from_the_gem(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read("migrate-from-the-gem.md", "sqlite:///moves.db", database, tmp_path, monkeypatch)
