"""The door for foreign errors: which of a database's errors pass by themselves, and what a caller gets to see."""

from typing import Final

from sqlalchemy.exc import DBAPIError, InterfaceError, PendingRollbackError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

# From the manuals of MySQL, MariaDB and PostgreSQL; seen in the tests where a server could be made to raise them.
_MYSQL: Final = frozenset(
    (1205, 1213, 1020, 1040, 1047, 1053, 1290, 1317, 1927, 2002, 2003, 2006, 2013, 2014, 2055, 4031)
)
_SQLSTATE_CLASSES: Final = ("08", "40", "53", "57")
_SQLSTATES: Final = frozenset(("55P03", "25P03"))
_SQLITE: Final = ("SQLITE_BUSY", "SQLITE_LOCKED")
# Of SQLAlchemy: what its adapters raise where they are called by themselves.
_DRIVERS: Final = ("aiomysql", "pymysql", "asyncpg", "sqlite3", "aiosqlite", "sqlalchemy")
_REJECTED: Final = frozenset((1044, 1045, 1049, 1698, "28P01", "28000", "3D000"))


def code_of(error: BaseException) -> int | str | None:
    """Return the server's own code of an error: a MySQL number, an SQLSTATE, or SQLite's name."""
    origin = getattr(error, "orig", None) or error
    first = origin.args[0] if origin.args else None
    if isinstance(first, int) and not isinstance(origin, OSError):
        # pymysql's errors have an SQLSTATE too, but most share one.
        return first
    named = (origin, origin.__cause__)
    found = (getattr(each, name, None) for each in named for name in ("sqlstate", "sqlite_errorname"))
    return next((str(code) for code in found if code), None)


def is_foreign(error: BaseException) -> bool:
    """Tell whether an error comes from a database, its driver or the network, and not from our own code."""
    if isinstance(error, (SQLAlchemyError, OSError, TimeoutError, EOFError)):
        return True
    return type(error).__module__.partition(".")[0] in _DRIVERS


def is_transient(error: BaseException) -> bool:
    """Tell whether the same transaction may succeed when it is done again."""
    # A pending rollback: the connection was lost before, where somebody else has got the error.
    if isinstance(error, (OSError, TimeoutError, PoolTimeout, EOFError, PendingRollbackError)):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    code = code_of(error)
    if isinstance(code, int):
        return code in _MYSQL
    if code is None:
        # A driver that lost its connection in the middle of a call often has no better word for it.
        lost = isinstance(error, InterfaceError) or "closed" in str(error).lower()
        return lost or type(getattr(error, "orig", error)).__name__ == "InternalClientError"
    return code.startswith((*_SQLSTATE_CLASSES, *_SQLITE)) or code in _SQLSTATES


def is_rejected(error: BaseException) -> bool:
    """Tell whether the server refused who we are or the database we asked for."""
    return code_of(error) in _REJECTED


def brief(error: BaseException) -> str:
    """Return an error in one line, without statements and parameters."""
    origin = getattr(error, "orig", None) or error
    text = " ".join(str(origin).split()) or type(origin).__name__
    return f"{type(origin).__name__}: {text:.300}"
