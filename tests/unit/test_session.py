"""A connection to SQLite that is closed keeps nothing locked, and one that failed leaves nothing."""

import sqlite3
import threading
from pathlib import Path

import pytest

from awfe.persistence.closing import SQLiteConnection, connect_sqlite


def leave_open(path: Path, factory: type[sqlite3.Connection]) -> sqlite3.Cursor:
    """Close a connection in the middle of a transaction, and return a cursor that lives on."""
    connection = sqlite3.connect(path, factory=factory, isolation_level=None)
    connection.execute("CREATE TABLE IF NOT EXISTS t (a INTEGER)")
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])
    cursor = connection.execute("SELECT a FROM t")
    cursor.fetchone()
    connection.close()
    return cursor


def is_locked(path: Path) -> bool:
    """Tell whether nobody can write."""
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return True
    finally:
        connection.close()
    return False


@pytest.mark.parametrize(("factory", "locked"), [(SQLiteConnection, False), (sqlite3.Connection, True)])
def test_closing_in_the_middle_unlocks_the_file(
    tmp_path: Path, factory: type[sqlite3.Connection], *, locked: bool
) -> None:
    """The second case is the control: it is what sqlite3 does by itself."""
    cursor = leave_open(tmp_path / "w.db", factory)
    assert is_locked(tmp_path / "w.db") is locked
    del cursor


def test_closing_twice_is_closing_once() -> None:
    connection = sqlite3.connect(":memory:", factory=SQLiteConnection)
    connection.close()
    connection.close()


async def test_a_connection_that_failed_leaves_no_thread(tmp_path: Path) -> None:
    """Its last word for the loop would be a traceback in a program that has closed the loop by then."""
    before = set(threading.enumerate())
    with pytest.raises(sqlite3.OperationalError):
        await connect_sqlite(tmp_path)
    assert not [each for each in set(threading.enumerate()) - before if "_connection_worker" in each.name]
