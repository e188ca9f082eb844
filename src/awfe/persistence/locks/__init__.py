"""The lock of each running workflow: it tells others at once that somebody runs it, and dies with its holder.

The lock only saves work; what makes a runner safe is the fence in `batch.py`.
"""

from awfe.persistence.locks.base import Held, Locks
from awfe.persistence.locks.bells import Bell, ServerBell
from awfe.persistence.locks.connection import Server
from awfe.persistence.locks.dedicated import DedicatedLocks
from awfe.persistence.locks.lease import LeaseLocks
from awfe.persistence.locks.mysql import MySQL
from awfe.persistence.locks.postgresql import PostgreSQL
from awfe.persistence.locks.shared import SharedLocks
from awfe.persistence.locks.sqlite import FileLocks, SocketBell
from awfe.persistence.session import Database

__all__ = ["Bell", "Held", "Locks", "bell_for", "locks_for"]


def locks_for(database: Database, instance: str, owner: str) -> Locks:
    """Return locks of the kind that the settings name, in this database, for the workflows of `instance`."""
    if database.settings.locks == "lease":
        return LeaseLocks(database, owner)
    if database.kind == "sqlite":
        # Dedicated or shared, a file's lock costs the same: it is one for each engine.
        return FileLocks(database, owner)
    kind = SharedLocks if database.settings.locks == "shared" else DedicatedLocks
    return kind(database, _server(database), instance)


def bell_for(database: Database, instance: str, owner: str) -> Bell:
    """Return the bell that suits a database."""
    if database.kind == "sqlite":
        return SocketBell(database, owner)
    return ServerBell(database, _server(database), instance, owner)


def _server(database: Database) -> Server:
    return MySQL() if database.kind == "mysql" else PostgreSQL()
