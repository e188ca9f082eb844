"""Where the operator sits: what all commands share."""

import getpass
import logging
import os
import shlex
import socket
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

import awfe
from awfe.cli import config, names
from awfe.cli.out import Out
from awfe.errors import ConfigError, StepNotFound, WorkflowNotFound

if TYPE_CHECKING:
    from awfe import Engine


class _Handler(logging.Handler):
    def __init__(self, out: Out) -> None:
        super().__init__(logging.WARNING)
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        self._out.note(record.getMessage())


@dataclass(frozen=True, slots=True)
class Seat:
    """A database, a way to print, and the name that stands in the history."""

    config: config.Config
    out: Out
    actor: str
    typed: tuple[str, ...] = ()

    @asynccontextmanager
    async def engine(self, *, creates: bool = False, **settings: Any) -> AsyncIterator["Engine"]:
        """Give an open engine.

        Raises `ConfigError` where a file of SQLite is not there, unless the command `creates` something: in a file that
        was made by a slip of the pen nobody finds anything.
        """
        # These add to what the environment or a file names.
        named = awfe.Settings.of(None, self.config.settings).step_modules
        modules = tuple(dict.fromkeys((*named, *self.config.modules)))
        if modules:
            self.reach_modules()
        given = {"step_modules": modules} if modules else {}
        self.expect_file(creates=creates)
        async with awfe.Engine(self.config.url, **{**self.config.settings, **given, **settings}) as engine:
            try:
                yield engine
            except (WorkflowNotFound, StepNotFound) as error:
                raise await names.explained(engine, error) from error

    def expect_file(self, *, creates: bool) -> None:
        """Raise `ConfigError` where a file of SQLite is not there, or where none can be made."""
        urls = import_module("awfe.urls")  # it brings SQLAlchemy, which `awfe --help` does without
        resolved = urls.resolve(self.config.url)
        if not urls.is_missing_file(resolved):
            return
        where = f"{urls.shown(resolved)} (from {self.config.source})"
        if not Path(resolved.database).parent.is_dir():
            msg = f"{where}: there is no directory {str(Path(resolved.database).parent)!r}; make it, or name another"
            raise ConfigError(msg)
        if not creates:
            msg = f"{where}: there is no such file; create it: {self.command('db', 'upgrade')}"
            raise ConfigError(msg)

    def reach_modules(self) -> None:
        """Let modules be found in the current directory, as `python -m` does."""
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.insert(0, here)

    def importing(self, modules: Iterable[str]) -> "Seat":
        """Return a seat whose commands import these, too."""
        more = (module for module in modules if module not in self.config.modules)
        return replace(self, typed=(*self.typed, *(word for module in more for word in ("--import", module))))

    def command(self, *words: str) -> str:
        """Return a command to type: with the options that were typed now, but no password."""
        return shlex.join(("awfe", *self.typed, *words))

    def by(self, reason: str | None = None) -> dict[str, Any]:
        """Return who asks and why, as verbs take it."""
        return {"actor": self.actor, "reason": reason}


def sit(db: str | None, modules: list[str], actor: str | None, *, as_json: bool) -> Seat:
    """Return the seat for the options of a command line; what awfe warns of is a note."""
    # What stands before an @ or after a ? may be a password: whoever typed it knows what to type.
    typed = ("--db", db) if db is not None and not {"@", "?"}.intersection(db) else ()
    imported = (word for module in modules for word in ("--import", module))
    found, out = config.load(db, modules, os.environ, Path.cwd()), Out(as_json=as_json)
    log = logging.getLogger("awfe")
    log.propagate = False
    log.handlers = [_Handler(out)]
    return Seat(found, out, actor or login(), (*typed, *imported))


def login() -> str:
    """Return who is logged in, and where."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user that has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


Here = Annotated[Seat, Parameter(parse=False)]
Reason = Annotated[str | None, Parameter(name="--reason", help="Why: it stays in the history.")]
Sets = Annotated[
    list[str] | None,
    Parameter(
        name="--set", negative=(), help="A value of the context, as key=value: JSON, or else a text. Repeatable."
    ),
]
States = Annotated[
    list[str] | None, Parameter(name="--state", negative=(), help="All workflows in this state. Repeatable.")
]
Yes = Annotated[bool, Parameter(name=("--yes", "-y"), negative=(), help="Don't ask.")]
