"""What others ask of a run, while it stands in line and while it runs."""

import asyncio

from awfe.domain.decide import Halt
from awfe.domain.moves import Head
from awfe.domain.states import ACTIVE
from awfe.execution.attempt import Attempt, Cut
from awfe.execution.crew import Crew


class Asked:
    """Hears what is asked, and cuts the running attempt short; `rested` is done when the workflow rests.

    `has_claimed`: it was the runner of its workflow.
    """

    def __init__(self, crew: Crew, head: Head, *, in_line: bool) -> None:
        """Stand in line, or take a place beside the others."""
        self.crew = crew
        self.head = head
        self.name = head.name
        self.has_claimed = False
        self.rested: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._halt = Halt.NONE
        self._grace = crew.settings.stop_grace
        self._turn = crew.line.join() if in_line else crew.line.squeeze_in()
        self._heeded: tuple[str, float | None] | None = None
        self._claimed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._bell: asyncio.Future[None] | None = None
        self._attempt: Attempt | None = None

    def ask(self, halt: Halt, grace: float | None = None) -> None:
        """Ask the run to halt; a stop cuts the running step short within `grace` seconds."""
        self._halt = max(self._halt, halt)
        self.wake()
        if halt is Halt.STOP:
            self._grace = self.crew.settings.stop_grace if grace is None else grace
            if self._attempt is not None:
                self._attempt.cut(Cut.STOP, self._grace)
        self.crew.line.leave(self._turn)

    def wake(self) -> None:
        """Let it look again what it is asked, and whether what it waits for is due."""
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    def cut_off(self) -> None:
        """End the running step because the engine closes."""
        self.ask(Halt.SHUTDOWN)
        if self._attempt is not None:
            self._attempt.cut(Cut.SHUTDOWN, self.crew.settings.stop_grace)

    def heed(self, head: Head) -> None:
        """Act on a request that was stored for this run, or on its fencing; a head of another run is dead."""
        if head.run_id != self.head.run_id or self.head.state not in ACTIVE:
            return
        if head.token != self.head.token:
            self._fenced()
            return
        if head.request is not None and self._heeded != (head.request, head.stop_grace):
            self._heeded = (head.request, head.stop_grace)
            self.ask(Halt[head.request.upper()], head.stop_grace)

    @property
    def in_line(self) -> bool:
        """Whether it still waits for a place."""
        return not self._turn.done()

    async def settled(self) -> None:
        """Return when it is claimed or over: what a verb sees in the database is then up to date."""
        await asyncio.wait({self._claimed, self.rested}, return_when=asyncio.FIRST_COMPLETED)

    def _cancelled(self) -> None:
        # The loop is going down, or somebody ends our task: that is a stop, and its state is saved.
        self.ask(Halt.STOP)

    def _fenced(self) -> None:
        if self._attempt is not None:
            self._attempt.cut(Cut.FENCED, self._grace)
