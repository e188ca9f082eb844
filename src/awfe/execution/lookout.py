"""What happens behind an engine's back: requests of others, stops that a runner does not act on, rows left behind."""

import asyncio
import time
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from typing import Final

from awfe.domain import takeover
from awfe.domain.moves import By, Head, Move
from awfe.domain.states import ACTIVE
from awfe.errors import WorkflowCorrupt, WorkflowNotFound
from awfe.execution.attaching import Attaching
from awfe.execution.control import Control
from awfe.execution.crew import Crew
from awfe.execution.recovery import Recovery
from awfe.persistence.writes import Found
from awfe.shielding import end

# What a runner has beyond the grace of a stop, before others hold it for frozen.
_LATE: Final = 2.0


class Lookout:
    """Looks at each ring of the bell and every `poll_interval`: one query for all runs, none when nothing runs.

    A stop that its runner has not acted on in its grace and 2 seconds, as seen by our own clock, is fenced: what blocks
    its loop or is frozen can't save anything any more, and its workflow stays locked until it is gone.
    """

    def __init__(
        self, crew: Crew, control: Control, recovery: Recovery, attaching: Attaching, rung: asyncio.Event
    ) -> None:
        """Look for what concerns these runs."""
        self.polls = 0
        self.rings = 0
        self._crew = crew
        self._control = control
        self._recovery = recovery
        self._attaching = attaching
        self._rung = rung
        self._deadlines: dict[tuple[int, str, float], float] = {}
        self._looking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Hang the bell, and begin to look."""
        await self._crew.bell.open(self._ring)
        self._looking = asyncio.create_task(self._look_again_and_again(), name="awfe lookout")

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            await end(self._looking)
        await self._crew.bell.close()

    async def asked(self, head: Head) -> None:
        """Ring where a request was stored for; a stop is watched from here, too."""
        if head.owner is None or head.request is None:
            return
        if head.request == "stop":
            self._deadlines.setdefault(_key(head), _deadline(head))
        await self.ring_for(head.owner)

    async def ring_for(self, owner: str) -> None:
        """Let an engine look at once: this one, or another."""
        if owner == self._crew.owner:
            self._rung.set()
        else:
            await self._crew.bell.ring(owner)

    def _ring(self) -> None:
        self.rings += 1
        self._rung.set()

    async def _look_again_and_again(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._crew.settings.poll_interval):
                    await self._rung.wait()
            self._rung.clear()
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look may succeed
                self._crew.log.warning("requests of other processes can't be looked up: %s", error)

    async def _look(self) -> None:
        if self._control or self._deadlines:
            self.polls += 1
            heads = await self._crew.reads.concerning(self._crew.owner)
            for head in heads:
                if (run := self._control.get(head.name)) is not None:
                    run.heed(head)
            for head in self._overdue(heads):
                await self._passing_over(self._fence(head))
        await self._attaching.look()
        for head in tuple(self._control.left_behind):
            await self._passing_over(self._settle(head))

    async def _passing_over(self, one: Awaitable[None]) -> None:
        """See to one workflow; where it can't be understood, the others still get their turn."""
        try:
            await one
        except WorkflowCorrupt as error:
            self._crew.reads.pass_over(error)

    def _overdue(self, heads: Iterable[Head]) -> list[Head]:
        stops = {_key(head): head for head in heads if head.request == "stop" and not self._control.runs(head)}
        self._deadlines = {key: self._deadlines.get(key, _deadline(head)) for key, head in stops.items()}
        return [head for key, head in stops.items() if self._deadlines[key] <= time.monotonic()]

    async def _fence(self, head: Head) -> None:
        is_late = False

        def make(found: Found) -> Move | None:
            nonlocal is_late
            now = found.head
            is_late = now.run_id == head.run_id and now.state in ACTIVE
            return takeover.fenced(now, self._crew.clock(), By(self._crew.owner)) if is_late else None

        with suppress(WorkflowNotFound):
            await self._crew.writes.change(head.name, make, workflow_id=head.id)
            if is_late:
                self._crew.log.warning("%r did not act on the stop of %r in time: fenced", head.owner, head.name)

    async def _settle(self, left: Head) -> None:
        """Bring to rest what this engine had to leave behind when the database was away for too long."""
        with suppress(WorkflowNotFound):
            head = await self._crew.reads.head(left.name)
            if head.run_id == left.run_id and not self._control.runs(head):
                await self._recovery.settle(head)
        self._control.left_behind.discard(left)


def _key(head: Head) -> tuple[int, str, float]:
    return head.id, head.run_id, head.stop_grace or 0.0


def _deadline(head: Head) -> float:
    return time.monotonic() + (head.stop_grace or 0.0) + _LATE
