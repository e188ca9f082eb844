"""What all runs of one engine share."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from awfe.domain.context import Context, StepInfo
from awfe.domain.moves import Head
from awfe.domain.records import Workflow
from awfe.domain.services import Log
from awfe.execution.line import Line
from awfe.execution.secrets import Secrets
from awfe.persistence.entries import Entries
from awfe.persistence.locks import Bell, Locks
from awfe.persistence.reads import Reads
from awfe.persistence.transaction import Transaction
from awfe.persistence.waiting import Waits
from awfe.persistence.writes import Writes
from awfe.settings import Settings

Hook = Callable[[Context], Awaitable[None]]


class Family(Protocol):
    """The workflows that steps begin, as workflows of their own."""

    async def raise_child(
        self, parent: Head, info: StepInfo, name: str, context: Mapping[str, Any], steps: Sequence[Any]
    ) -> Workflow:
        """Begin a workflow of a step's, or find it; returns it as it stands."""

    async def undo_child(self, parent: Head, info: StepInfo, name: str) -> None:
        """Roll a workflow of a step's back."""


@dataclass(slots=True)
class Crew:
    """The collaborators of every run; `owner` names this engine to people and to other engines."""

    owner: str
    settings: Settings
    reads: Reads
    writes: Writes
    entries: Entries
    waits: Waits
    transaction: Callable[[], Transaction]
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
    family: "Family" = field(init=False)

    def join(self, locks: Locks, bell: Bell, instance: str, max_context_bytes: int) -> None:
        """Add what is only known when the database is open."""
        self.locks, self.bell, self.instance, self.max_context_bytes = locks, bell, instance, max_context_bytes
