"""What is asked of databases, counted at SQLAlchemy's own events."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine as SyncEngine


class Counted:
    """Statements, commits and rollbacks, in order, of the lock connections too."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.sent: list[int] = []

    def statement(self, _c: Any, _cursor: Any, sql: str, parameters: Any, _context: Any, _many: Any) -> None:
        """Note a statement and its size."""
        self.lines.append(sql.split(maxsplit=1)[0])
        self.sent.append(len(sql) + len(repr(parameters)))

    def commit(self, _connection: Any) -> None:
        """Note a commit."""
        self.lines.append("COMMIT")

    def rollback(self, _connection: Any) -> None:
        """Note a rollback."""
        self.lines.append("ROLLBACK")


@contextmanager
def counting() -> Iterator[Counted]:
    """Count what all engines ask."""
    counter = Counted()
    listeners = (
        ("before_cursor_execute", counter.statement),
        ("commit", counter.commit),
        ("rollback", counter.rollback),
    )
    for name, listener in listeners:
        event.listen(SyncEngine, name, listener)
    try:
        yield counter
    finally:
        for name, listener in listeners:
            event.remove(SyncEngine, name, listener)
