"""What a run shows while it goes on: lines, or on a terminal a table that moves."""

import asyncio
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from awfe.cli import looks
from awfe.cli.out import Out, clean
from awfe.domain.records import Event, Workflow, WorkflowStep
from awfe.domain.states import Cause, WorkflowState
from awfe.errors import AwfeError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from awfe import Engine

_TAIL = 8
_LONGEST = 4096  # of what is printed without a line's end, so much is kept
_PER_SECOND = 8
_FRAME = 5  # the lines of a live table that are neither steps nor output
_BEGINS = (Cause.RUN, Cause.ROLLBACK, Cause.ATTEMPT_BEGUN)


class Lines:
    """A line for each step that begins or ends, and for each line that a step prints."""

    def __init__(self, out: Out) -> None:
        """Print there."""
        self._out = out
        self._steps: Mapping[str, tuple[WorkflowStep, ...]] = {}
        self._began: dict[str, datetime] = {}
        self._partial = ""

    async def begin(self, _engine: "Engine", workflows: list[Workflow]) -> None:
        """Get to know the steps."""
        self._steps = {workflow.name: workflow.steps for workflow in workflows}

    def output(self, text: str) -> None:
        """Print what a step prints, in whole lines."""
        *whole, self._partial = (self._partial + text).split("\n")
        for line in whole:
            self._out.line(f"  | {line}")
        if len(self._partial) > _LONGEST:
            self._flush()

    def event(self, event: Event) -> None:
        """Print what has happened."""
        self._flush()
        step, name = event.step, event.workflow
        if step is None or name not in self._steps:
            return
        if event.cause in _BEGINS:
            self._begins(event, step)
        elif event.cause.startswith("step_"):
            took = f" after {looks.span(self._began.get(name), event.at)}" if name in self._began else ""
            about = f": {event.error.first_line}" if event.error is not None else ""
            if event.cause is Cause.STEP_WAITING and event.reason:
                about = f", for {_awaited(event.reason)}; see awfe show {name}"
            self._out.line(f"{self._label(name, step)} {event.cause.removeprefix('step_')}{took}{about}")
            forward = event.cause in (Cause.STEP_COMPLETED, Cause.STEP_SKIPPED)
            if forward and event.after is WorkflowState.RUNNING and step < len(self._steps[name]):
                self._begins(event, step + 1)

    def note(self, text: str) -> None:
        """Tell what is no result."""
        self._out.note(text)

    async def finish(self) -> None:
        """Show what is left."""
        self._flush()

    async def __aenter__(self) -> Self:
        """Begin to show."""
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Leave what is shown."""

    def _flush(self) -> None:
        if self._partial:
            self.output("\n")

    def _begins(self, event: Event, step: int) -> None:
        self._began[event.workflow] = event.at
        again = f", attempt {event.attempt}" if event.cause in _BEGINS and (event.attempt or 1) > 1 else ""
        self._out.line(f"{self._label(event.workflow, step)} begins{again}")

    def _label(self, name: str, step: int) -> str:
        steps = self._steps[name]
        return f"{name}: step {step}/{len(steps)} {steps[step - 1].name}"


class Board:
    """A table of the steps of one workflow, with the end of what they print, that is kept up to date."""

    def __init__(self, out: Out) -> None:
        """Draw on this terminal."""
        self._out = out
        self._engine: Engine | None = None
        self._workflow: Workflow | None = None
        self._tail: deque[str] = deque([""], maxlen=_TAIL)
        self._note = ""
        self._changed = asyncio.Event()
        self._live = Live(
            console=out.console, get_renderable=self._render, refresh_per_second=_PER_SECOND, vertical_overflow="crop"
        )
        self._keeping: asyncio.Task[None] | None = None

    async def begin(self, engine: "Engine", workflows: list[Workflow]) -> None:
        """Draw the workflow, and again whenever it has changed."""
        if workflows:
            self._engine, (self._workflow,) = engine, workflows
            self._keeping = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._renew()
            await asyncio.sleep(1 / _PER_SECOND)

    async def _renew(self) -> None:
        if self._engine is not None and self._workflow is not None:
            with suppress(AwfeError):  # the run itself tells what is wrong
                self._workflow = await self._engine.get(self._workflow.name)

    def output(self, text: str) -> None:
        """Keep the last lines of what the steps print."""
        first, *more = text.split("\n")
        self._tail[-1] = (self._tail[-1] + first)[-_LONGEST:]
        self._tail.extend(more)

    def event(self, _event: Event) -> None:
        """Note that there is something new."""
        self._changed.set()

    def note(self, text: str) -> None:
        """Show what is no result below the table."""
        self._note = text

    async def finish(self) -> None:
        """Draw it as it has come to rest."""
        await self._renew()

    async def __aenter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Leave the table as it stands."""
        if self._keeping is not None:
            self._keeping.cancel()
        self._live.stop()

    def _render(self) -> RenderableType:
        return board(self._workflow, [*self._tail], self._note, self._out.console.height)


def board(workflow: Workflow | None, tail: list[str], note: str, height: int) -> RenderableType:
    """Return a workflow that runs as it is drawn on a terminal of that height."""
    if workflow is None:
        return Text("")
    printed = [Text(f"  {clean(line)}", "dim", no_wrap=True, overflow="ellipsis") for line in tail if line]
    room = max(3, height - len(printed) - _FRAME)
    current = (workflow.position or len(workflow.steps)) - 1
    first = max(0, min(current - room // 2, len(workflow.steps) - room))
    shown = workflow.steps[first : first + room]
    head = Text.assemble((clean(workflow.name), "bold"), " ", looks.state(workflow.state))
    if len(shown) < len(workflow.steps):
        head.append(f"  steps {first + 1} to {first + len(shown)} of {len(workflow.steps)}", "dim")
    if workflow.request:
        head.append(f"  asked to {workflow.request}", "yellow")
    foot = [Text(note, "yellow")] if note else []
    return Group(head, looks.table(("", "STEP", "", "TRY", "TIME", ""), map(row, shown)), *printed, *foot)


def row(step: WorkflowStep) -> tuple[str | Text, ...]:
    """Return a line of a table of steps."""
    about = step.error.first_line if step.error is not None else ""
    if step.state == "waiting":
        what = [f"for {_awaited(step.signal)}"] if step.signal else []
        what += [f"until {looks.moment(step.due_at)}"] if step.due_at else []
        about = " ".join(what)
    is_over = step.state != "running"
    return (
        f"{step.position}",
        step.name,
        Text.assemble(looks.mark(step.state), " ", looks.state(step.state)),
        f"{step.attempt or ''}",
        "" if is_over and step.ended_at is None else looks.span(step.started_at, step.ended_at if is_over else None),
        about,
    )


def _awaited(signal: str) -> str:
    return "an approval" if signal.startswith("awfe.approval.") else signal
