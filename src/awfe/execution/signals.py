"""What is sent to a workflow: signals, and the answers to those who ask for approval."""

from typing import Any, NoReturn

from awfe.domain import waiting, waits
from awfe.domain.delta import too_large
from awfe.domain.moves import By, Head, Move
from awfe.domain.outcomes import ErrorInfo
from awfe.domain.states import Cause, WorkflowState
from awfe.domain.values import encode
from awfe.domain.waits import Wait
from awfe.errors import InvalidInput, InvalidState
from awfe.execution.crew import Crew
from awfe.execution.steering import Steering
from awfe.persistence.writes import Found

# Signals of awfe's own.
_RESERVED = "awfe."


class Signals:
    """Stores what is sent, and lets who waits for it look at once."""

    def __init__(self, crew: Crew, steering: Steering) -> None:
        """Send through this engine."""
        self._crew = crew
        self._steering = steering

    async def send(self, name: str, topic: str, payload: Any, by: By) -> None:
        """Send a signal."""
        encoded = checked(topic, payload, self._crew.max_context_bytes)
        await self._steering.told(await self._crew.waits.send(name, topic, encoded, by, self._crew.clock()))

    async def approve(self, name: str, by: By) -> None:
        """Answer yes."""
        crew = self._crew
        topic = asked(await crew.reads.head(name), by).signal or ""
        now = crew.clock()
        answer = {"actor": by.actor, "comment": by.reason, "at": now.isoformat()}

        def check(head: Head) -> None:
            if asked(head, by).signal != topic:
                _nothing_asked(head)

        head = await crew.waits.send(
            name, topic, encode(answer, "answer"), by, now, cause=Cause.APPROVE, check=check, once=True
        )
        await self._steering.told(head)

    async def reject(self, name: str, by: By) -> None:
        """Answer no: the step that asked fails."""

        def make(found: Found) -> Move:
            asked(found.head, by)
            who = "" if by.actor is None else f" by {by.actor}"
            why = "" if by.reason is None else f": {by.reason}"
            return waiting.rejected(found.head, self._crew.clock(), by, ErrorInfo("Rejected", f"rejected{who}{why}"))

        found = await self._crew.writes.change(name, make)
        await self._steering.told(found.head)


def checked(topic: str, payload: Any, limit: int) -> bytes:
    """Return a payload encoded; raises `InvalidInput` or `ContextError` for what can't be sent."""
    if waits.topic("topic", topic).startswith(_RESERVED):
        msg = f"topic={topic!r:.60}: topics that begin with {_RESERVED!r} are awfe's own"
        raise InvalidInput(msg)
    encoded = encode(payload, "payload")
    if len(encoded) > limit:
        raise too_large(len(encoded), limit)
    return encoded


def asked(head: Head, by: By) -> Wait:
    """Return what a workflow asks this person for; raises `InvalidState`."""
    if head.state is not WorkflowState.WAITING or head.wait is None or head.wait.kind != "approval":
        _nothing_asked(head)
    assert head.wait is not None  # noqa: S101 - seen above
    if head.wait.approvers and by.actor not in head.wait.approvers:
        allowed = ", ".join(head.wait.approvers)
        msg = f"{head.name!r} asks for the approval of {allowed}, not of {by.actor!r}: give actor="
        raise InvalidState(head.name, msg)
    return head.wait


def _nothing_asked(head: Head) -> NoReturn:
    msg = f"{head.name!r} is in state {head.state}: approve and reject are allowed in waiting, when a step asks for it"
    raise InvalidState(head.name, msg)
