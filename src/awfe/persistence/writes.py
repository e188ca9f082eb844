"""What is written: the moves of runners, and the verbs of operators.

Every change is a move, applied by one statement that is conditional on the head it starts from. A transaction that may
have been committed is done again as a whole, and finds out by its revision or by the unique id of its line.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from msgspec.structs import replace
from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from awfe.domain import events, takeover, verbs, waiting
from awfe.domain.delta import NO_CHANGE, Delta, too_large
from awfe.domain.encoded import size_of
from awfe.domain.log import Progress
from awfe.domain.moves import By, Head, Move, Noted
from awfe.domain.records import Event, RequestName
from awfe.domain.states import ACTIVE, Answer, Cause, Verb, WorkflowState
from awfe.errors import WorkflowError
from awfe.persistence import codec
from awfe.persistence.batch import INSERT_EVENT, put_locked
from awfe.persistence.gathering import Gathering
from awfe.persistence.lookup import (
    LOCKED_BY_NAME,
    fetched,
    found,
    locked_with_log,
    printed,
    unsaved,
)
from awfe.persistence.many import glanced
from awfe.persistence.schema import event, workflow
from awfe.persistence.session import Database
from awfe.persistence.waiting import Sent, sent
from awfe.persistence.writer import Writer
from awfe.shielding import surely

_ASK: Final = (
    update(workflow)
    .where(workflow.c.id == bindparam("w_id"))
    .values(request=bindparam("request"), stop_grace=bindparam("stop_grace"))
)
_REST: Final = update(workflow).where(workflow.c.id == bindparam("w_id")).values(resumable=False, rev=bindparam("rev"))
NOTED: Final = select(event.c.id).where(event.c.uid == bindparam("uid")).with_for_update()


@dataclass(frozen=True, slots=True)
class Found:
    """What a verb decides on: the locked head, what its log adds up to, and what the last attempt did not save.

    `signal`: the one that it waits for. `printed`: the output of the step that waits.
    """

    head: Head
    progress: Progress
    unsaved: Delta = NO_CHANGE
    signal: Sent | None = None
    printed: str = ""


Make = Callable[[Found], Move | None]


class Writes:
    """Writes to one database; `tell` gets the lines of the history after each commit."""

    def __init__(self, database: Database, tell: Callable[[Iterable[Event]], None]) -> None:
        """Write to this database."""
        self._database = database
        self._tell = tell
        self._writer = Writer(database)
        self._glances: Gathering[int, tuple[Head, Progress]] = Gathering(self._glance, database.log)

    async def apply(self, move: Move, retry_for: float, on_cancel: Callable[[], None] | None = None) -> Head:
        """Apply a runner's move, waiting for the database as long as it may take.

        With `on_cancel` it is not cut off: each cancellation is told there, and not raised.

        Returns the head after it, or, where a request turned up, the head as it is: its `rev` is still the old one and
        the move must be decided again. Raises `LockLost` when another runner has taken over.
        """
        return self.applied(move, await self._writer.write(move, secrets.token_hex(16), retry_for, on_cancel))

    def applied(self, move: Move, head: Head) -> Head:
        """Tell of a runner's move, where it was applied."""
        if head.rev == move.after.rev:
            self._tell(events.of_move(move))
        return head

    async def change(
        self,
        name: str,
        make: Make,
        *,
        workflow_id: int | None = None,
        with_unsaved: bool = False,
        retry_for: float | None = None,
    ) -> Found:
        """Lock a workflow, decide on what is found, and apply that; returns the head after it and its progress.

        `make` may return None: then nothing is written. Raises `WorkflowNotFound` and what `make` raises.
        """
        return await self._change(name, make, secrets.token_hex(16), workflow_id, retry_for, with_unsaved=with_unsaved)

    async def claim(self, name: str, make: Make, workflow_id: int, on_cancel: Callable[[], None]) -> Found:
        """Do what `change` does, for a runner that has the lock: his move is fenced, and goes with those of others.

        It is not cut off: each cancellation is told.

        What does not fit to a glance is decided again with the row locked: that waits for what is being committed.
        """
        uid = secrets.token_hex(16)
        made: Move | None = None
        glance = await self._glances.ask(workflow_id, workflow_id, on_cancel=on_cancel)
        with suppress(WorkflowError):
            if glance is not None and not glance[0].waits and (made := make(Found(*glance))) is not None:
                # Nobody asks anything of what does not run yet, so it is claimed, or was taken by others.
                return Found(self.applied(made, await self._writer.write(made, uid, None, on_cancel)), glance[1])
        return await surely(lambda: self._change(name, make, uid, workflow_id, made=made), on_cancel)

    async def _glance(self, ids: Sequence[int]) -> Sequence[tuple[Head, Progress] | None]:
        return await self._database.read(partial(glanced, ids), 0, unseen=True)

    async def close(self) -> None:
        """Return when nothing is on its way any more, also of what those asked for who were cancelled."""
        await self._glances.close()
        await self._writer.close()

    async def _change(
        self,
        name: str,
        make: Make,
        uid: str,
        workflow_id: int | None,
        retry_for: float | None = None,
        *,
        with_unsaved: bool = False,
        made: Move | None = None,
    ) -> Found:
        tried = made is not None

        async def work(connection: AsyncConnection) -> Found:
            nonlocal tried, made
            head, progress = await locked_with_log(connection, name, workflow_id)
            if tried and (await connection.execute(NOTED, {"uid": uid})).one_or_none() is not None:
                return Found(head, progress)
            tried = True
            kept = await unsaved(connection, head, progress) if with_unsaved else None
            delta = (kept and kept.delta) or NO_CHANGE
            made = make(Found(head, progress, delta, await sent(connection, head), await printed(connection, head)))
            if made is None:
                return Found(head, progress)
            check_room(made, progress, self._database.max_context_bytes)
            await put_locked(connection, made, uid)
            return Found(made.after, progress)

        result = await self._database.write(work, retry_for)
        if made is not None:
            self._tell(events.of_move(made))
        return result

    async def request(
        self, name: str, verb: Verb, by: By, now: datetime, *, grace: float | None = None, in_line: bool = False
    ) -> Head:
        """Ask the runner to pause or stop; returns the head, with the request in it when there is one to ask.

        `in_line`: it only stands in line, so its state stays, whatever it is.
        """
        request: RequestName = "stop" if verb is Verb.STOP else "pause"
        uid = secrets.token_hex(16)
        noted: Noted | Move | None = None

        async def work(connection: AsyncConnection) -> Head:
            nonlocal noted
            head = codec.head_of(found(await fetched(connection, name, LOCKED_BY_NAME, {"name": name}), name))
            if noted and (await connection.execute(NOTED, {"uid": uid})).one_or_none() is not None:
                return head
            if head.state is WorkflowState.WAITING:
                # Nobody runs it, so nobody has to be asked.
                halt = waiting.wait_stopped if request == "stop" else waiting.wait_paused
                noted = halt(head, now, by)
                await put_locked(connection, noted, uid)
                return noted.after
            runs = head.state in ACTIVE
            if verbs.halting(head, verb, in_line=in_line) is not Answer.REQUESTED and not head.resumable:
                return head
            noted = Noted(Cause(request), now, head.position or 0, by)
            if not runs:
                # Somebody wants it to rest now, so it is no longer for `recover()` to go on.
                rested = replace(head, resumable=False, rev=head.rev + 1)
                await connection.execute(_REST, {"w_id": head.id, "rev": rested.rev})
                await connection.execute(INSERT_EVENT, codec.event_row(rested, noted, uid, head.state))
                return rested
            stronger = head.request if head.request == "stop" else request
            asked = replace(head, request=stronger, stop_grace=head.stop_grace if grace is None else grace)
            values = {"w_id": head.id, "request": asked.request, "stop_grace": asked.stop_grace}
            await connection.execute(_ASK, values)
            await connection.execute(INSERT_EVENT, codec.event_row(asked, noted, uid, head.state))
            return asked

        head = await self._database.write(work)
        if isinstance(noted, Move):
            self._tell(events.of_move(noted))
        elif noted is not None:
            self._tell([events.of_noted(name, noted, head.state, head.state)])
        return head

    async def let_go(self, head: Head, now: datetime, retry_for: float | None = None) -> Head:
        """Note that the body of a fenced step has ended; where somebody has moved on since, nothing is written."""

        def make(found: Found) -> Move | None:
            still = found.head.owner == head.owner and found.head.run_id == head.run_id
            return takeover.body_ended(found.head, now) if still and found.head.state not in ACTIVE else None

        return (await self.change(head.name, make, workflow_id=head.id, retry_for=retry_for)).head


def check_size(delta: Delta, limit: int, values: dict[str, bytes] | None = None) -> None:
    """Refuse a change that makes a context too large."""
    values = {} if values is None else values
    delta.apply(values)
    if delta and size_of(values) > limit:
        raise too_large(size_of(values), limit)


def check_room(move: Move, progress: Progress, limit: int) -> None:
    """Refuse a verb whose values make the context too large."""
    assert move.noted is not None  # noqa: S101 - who asked, and why, is always noted
    dropped = move.noted.position if move.cause is Cause.RESET_FROM else None
    check_size(move.noted.delta, limit, progress.context(dropped))
