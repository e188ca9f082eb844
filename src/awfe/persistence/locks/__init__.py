"""The lock of each running workflow: it tells others at once that somebody runs it, and dies with its holder.

The lock only saves work; what makes a runner safe is the fence in `writes.py`.
"""

from awfe.persistence.locks.base import Held, Locks
from awfe.persistence.locks.dedicated import DedicatedLocks
from awfe.persistence.locks.mysql import MySQL
from awfe.persistence.locks.postgresql import PostgreSQL
from awfe.persistence.locks.sqlite import FileLocks
from awfe.persistence.session import Database

__all__ = ["Held", "Locks", "locks_for"]


def locks_for(database: Database, owner: str) -> Locks:
    """Return the locks that suit a database."""
    if database.kind == "sqlite":
        return FileLocks(database, owner)
    return DedicatedLocks(database, MySQL() if database.kind == "mysql" else PostgreSQL())
