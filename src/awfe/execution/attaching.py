"""Who awaits a workflow that waits, or that others run: goes on with it when it may, else hears what became of it."""

import asyncio
from collections.abc import Callable

from awfe.domain.moves import By, Head
from awfe.domain.states import ACTIVE, WorkflowState
from awfe.errors import StepNotFound, WorkflowCorrupt, WorkflowNotFound, WorkflowPaused
from awfe.execution import endings
from awfe.execution.control import Control
from awfe.execution.course import Forward, load
from awfe.execution.crew import Crew
from awfe.execution.recovery import Recovery
from awfe.execution.result import Result
from awfe.execution.waiting import Waiter
from awfe.shielding import end


class Attaching:
    """Goes on with what waits in this engine, and follows what has been taken by others."""

    def __init__(self, crew: Crew, recovery: Recovery, control: Callable[[], Control]) -> None:
        """Begin with nothing to follow."""
        self._crew = crew
        self._recovery = recovery
        self._control = control
        self._following: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Follow nobody any more."""
        for task in tuple(self._following):
            await end(task)

    async def look(self) -> None:
        """Wake what may go on: two queries for all that waits here, none when nothing does."""
        control = self._control()
        if not len(control.waiting):
            return
        for head in await self._crew.waits.ready_here(self._crew.owner, self._crew.clock()):
            waiter = control.waiting.pop(head.name)
            if waiter is not None:
                await self._wake(head, waiter)
        if await self._crew.waits.count_here(self._crew.owner) != len(control.waiting):
            await self._miss(control)

    async def _miss(self, control: Control) -> None:
        """Find those that wait here no more: paused, deleted or taken up by others."""
        expected = {waiter.name for waiter in control.waiting}
        there = await self._crew.waits.names_here(self._crew.owner)
        for name in expected - there:
            if (waiter := control.waiting.pop(name)) is not None:
                self.follow(name, waiter.result, waiter.by)

    async def _wake(self, head: Head, waiter: Waiter) -> None:
        control = self._control()
        try:
            head, specs = await self._crew.reads.with_steps(head.name)
            course = Forward(load(head.name, specs), woken=True)
        except (StepNotFound, WorkflowCorrupt, WorkflowNotFound) as error:
            waiter.result.set(error)
            return
        except BaseException:
            control.waiting.put_back(waiter)
            raise
        if control.get(head.name) is None:
            control.begin(head, course, waiter.by, waiter.result)
        else:
            self.follow(head.name, waiter.result, waiter.by)

    def follow(self, name: str, result: Result, by: By) -> None:
        """Tell who awaits a workflow what others make of it."""
        task = asyncio.create_task(self._follow(name, result, by), name=f"awfe follow {name}")
        self._following.add(task)
        task.add_done_callback(self._following.discard)

    async def _follow(self, name: str, result: Result, by: By) -> None:
        try:
            await self._until_rest(name, result, by)
        except asyncio.CancelledError:
            result.set(
                WorkflowPaused(name, f"{name!r} is gone on with elsewhere; the engine that awaited it is closed")
            )
            raise
        except Exception as error:  # noqa: BLE001 - handed to whoever awaits it
            result.set(error)

    async def _until_rest(self, name: str, result: Result, by: By) -> None:
        crew, control = self._crew, self._control()
        while True:
            head = await self._recovery.settle(await crew.reads.head(name))
            if head.state not in (*ACTIVE, WorkflowState.WAITING):
                result.set(endings.of_record(await crew.reads.workflow(name), undoing=head.undoing))
                return
            waits = head.state is WorkflowState.WAITING and control.get(name) is None
            if waits and await crew.waits.is_ready(head, crew.clock()):
                # Whoever gets the lock goes on; where that is another, we are back here.
                await self._wake(head, Waiter(name, result, by))
                return
            await asyncio.sleep(crew.settings.poll_interval)
