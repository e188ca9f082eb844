"""Workflows whose runner is gone: noticed by whoever looks, and never run again unless that was declared."""

import asyncio
from collections.abc import Iterable

from awfe.domain import takeover
from awfe.domain.log import Progress
from awfe.domain.moves import By, Head, Move
from awfe.domain.states import ACTIVE
from awfe.domain.step import StepSpec, policies_of
from awfe.errors import InvalidInput, WorkflowCorrupt, WorkflowNotFound
from awfe.execution.crew import Crew
from awfe.persistence.reads import Remains
from awfe.persistence.writes import Found


class Recovery:
    """Tells the living from the gone, and brings what is left of these to rest."""

    def __init__(self, crew: Crew) -> None:
        """Look with this engine's locks."""
        self._crew = crew

    async def is_alive(self, head: Head) -> bool:
        """Tell whether somebody holds the workflow's lock; looking never takes it."""
        return await self._crew.locks.is_held(head.id, head.owner)

    async def is_gone(self, remains: Remains) -> bool:
        """Tell whether nobody runs a workflow of which no more can be read, in two looks."""
        number, owner = remains[0], str(remains[1] or "")
        if await self._crew.locks.is_held(number, owner):
            return False
        await asyncio.sleep(self._crew.settings.takeover_delay)
        return not await self._crew.locks.is_held(number, owner)

    async def still_gone(self, head: Head, now: Head) -> bool:
        """Take the second look: free again, still the same run, and it has not moved."""
        same = (now.run_id, now.owner, now.rev) == (head.run_id, head.owner, head.rev)
        return same and not await self.is_alive(now)

    def taken_over(self, head: Head, progress: Progress, *, rerun: bool) -> Move:
        """Return what becomes of a workflow whose runner is gone; `rerun`: its step is declared so."""
        allowed = rerun and progress.interrupts < self._crew.settings.max_interrupts
        return takeover.taken_over(head, self._crew.clock(), By(self._crew.owner), rerun=allowed)

    async def settle(self, head: Head) -> Head:
        """Bring a workflow to rest whose runner is gone; one that lives is returned as it is."""
        if head.owner is None or await self.is_alive(head):
            return head
        await asyncio.sleep(self._crew.settings.takeover_delay)
        return await self._settle_now(head)

    async def settle_all(self, heads: Iterable[Head]) -> list[Head]:
        """Settle many with one delay; returns the heads of those that were brought to rest."""
        gone = [head for head in heads if head.owner is not None and not await self.is_alive(head)]
        if not gone:
            return []
        await asyncio.sleep(self._crew.settings.takeover_delay)
        settled = []
        for head in gone:
            try:
                settled.append(await self._settle_now(head))
            except WorkflowNotFound:
                # One that was deleted meanwhile needs nobody any more.
                continue
            except WorkflowCorrupt as error:
                self._crew.reads.pass_over(error)
        return [head for head in settled if head.state not in ACTIVE]

    async def _settle_now(self, head: Head) -> Head:
        now = await self._crew.reads.head(head.name)
        if not await self.still_gone(head, now):
            return now
        if now.state not in ACTIVE:
            return await self._crew.writes.let_go(now, self._crew.clock())
        rerun = await self._declared_rerun(now)
        has_moved = False

        def make(found: Found) -> Move | None:
            nonlocal has_moved
            # Then it lives, or others were first; and `rerun` was declared by the step at which it was.
            has_moved = found.head.run_id != now.run_id or found.head.rev != now.rev
            return None if has_moved else self.taken_over(found.head, found.progress, rerun=rerun)

        found = await self._crew.writes.change(head.name, make, workflow_id=head.id)
        if has_moved:
            return found.head
        # Should it live after all, it hears of it at once; what is left of a dead one's bell is taken down by this.
        await self._crew.bell.ring(str(head.owner))
        self._crew.log.warning("the runner of %r (%r) is gone: now %s", head.name, head.owner, found.head.state)
        return found.head

    async def _declared_rerun(self, head: Head) -> bool:
        """Tell whether the current step may be repeated; one that can't be made again may not."""
        try:
            _, specs = await self._crew.reads.with_steps(head.name)
        except WorkflowCorrupt:
            return False
        return declared_rerun(specs[head.at - 1])


def declared_rerun(spec: StepSpec) -> bool:
    """Tell whether a saved step may be repeated; one that can't be made again may not."""
    try:
        return policies_of(spec.load()).rerun
    except (LookupError, InvalidInput):
        return False
