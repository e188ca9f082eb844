"""What SQLAlchemy has compiled, kept for all engines of a process.

The sweeps open thousands of engines, and each would compile the same statements once more: a third of its short life.
"""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from awfe.persistence import session

_make = session.create_async_engine  # type: ignore[attr-defined]  # the seam is where the package makes its engines


class Compiled(dict[Any, Any]):
    """The compiled statements; what SQLAlchemy looks for begins with the dialect, of which each engine has its own."""

    def get(self, key: Any, default: Any = None) -> Any:
        """Return what any engine has compiled for the same version of the same server."""
        return super().get(_shared(key), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_shared(key), value)


def _shared(key: Any) -> Any:
    dialect, *statement = key
    return dialect.name, getattr(dialect, "server_version_info", None), *statement


_COMPILED = Compiled()


def make(*args: Any, **kwargs: Any) -> AsyncEngine:
    """Make an engine of SQLAlchemy's that compiles only what no other has compiled."""
    made: AsyncEngine = _make(*args, **kwargs)
    made.sync_engine.update_execution_options(compiled_cache=_COMPILED)
    return made


def share() -> None:
    """Let all engines of this process that are made from now on share what they compile."""
    vars(session)["create_async_engine"] = make
