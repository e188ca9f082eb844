"""What all runs of one engine share."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from awfe.domain.context import Context
from awfe.execution.line import Line
from awfe.execution.secrets import Secrets
from awfe.persistence.locks import Bell, Locks
from awfe.persistence.reads import Reads
from awfe.persistence.writes import Writes
from awfe.settings import Settings

Hook = Callable[[Context], Awaitable[None]]
Log = logging.Logger | logging.LoggerAdapter[Any]


@dataclass(slots=True)
class Crew:
    """The collaborators of every run; `owner` names this engine to people and to other engines."""

    owner: str
    settings: Settings
    reads: Reads
    writes: Writes
    line: Line
    log: Log
    clock: Callable[[], datetime]
    write_output: Callable[[str], None]
    secrets: Secrets = field(default_factory=Secrets)
    before_step: list[Hook] = field(default_factory=list)
    after_step: list[Hook] = field(default_factory=list)
    locks: Locks = field(init=False)
    bell: Bell = field(init=False)
    instance: str = field(init=False)
    max_context_bytes: int = field(init=False)

    def join(self, locks: Locks, bell: Bell, instance: str, max_context_bytes: int) -> None:
        """Add what is only known when the database is open."""
        self.locks, self.bell, self.instance, self.max_context_bytes = locks, bell, instance, max_context_bytes
