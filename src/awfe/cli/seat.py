"""Where the operator sits: what all commands share."""

import getpass
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

import awfe
from awfe.cli import config
from awfe.cli.out import Out

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

    @asynccontextmanager
    async def engine(self, **settings: Any) -> AsyncIterator["Engine"]:
        """Give an open engine; what it warns of is a note."""
        modules = self.config.modules
        if modules and "" not in sys.path:
            # As `python -m` does: the modules of a runbook stand beside it.
            sys.path.insert(0, str(Path.cwd()))
        log = logging.getLogger("awfe")
        log.propagate = False
        log.handlers = [_Handler(self.out)]
        given = {"step_modules": modules} if modules else {}
        async with awfe.Engine(self.config.url, **{**self.config.settings, **given, **settings}) as engine:
            yield engine

    def by(self, reason: str | None = None) -> dict[str, Any]:
        """Return who asks and why, as verbs take it."""
        return {"actor": self.actor, "reason": reason}


def sit(db: str | None, modules: list[str], actor: str | None, *, as_json: bool) -> Seat:
    """Return the seat for the options of a command line."""
    return Seat(config.load(db, modules, os.environ, Path.cwd()), Out(as_json=as_json), actor or login())


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
