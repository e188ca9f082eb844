"""Commands that run workflows, and what Ctrl-C and the end of a terminal mean to them."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from awfe.cli import files, names, planning, values
from awfe.cli.bulk import Results
from awfe.cli.exits import Exit
from awfe.cli.files import Name
from awfe.cli.progress import Board, Lines
from awfe.cli.seat import Here, Reason, Seat, Sets, States, Yes
from awfe.cli.verbs import FromStep, Keep
from awfe.domain.records import Workflow
from awfe.errors import AwfeError, InvalidInput, StepError

if TYPE_CHECKING:
    from awfe import Engine

Choose = Callable[["Engine"], Awaitable[Sequence[str]]]
Begin = Callable[["Engine", str], Awaitable[Workflow]]
_LEAVE = (signal.SIGTERM, signal.SIGHUP)


async def run(
    *workflows: Annotated[str, Parameter(help="Names, patterns, or runbooks, of which a workflow is made first.")],
    name: Name = None,
    set_: Sets = None,
    state: States = None,
    reason: Reason = None,
    seat: Here,
) -> Exit:
    """Run workflows, or go on with them, and wait for their end.

    Ctrl-C pauses them after their current step; Ctrl-C again stops them.
    """
    books = [word for word in workflows if files.is_file(word)]
    if (name is not None or set_) and len(books) != 1:
        msg = f"--name and --set are for one runbook, and {len(books) or 'none'} are given"
        msg += "" if books else "; what is saved already is changed by 'awfe context set'"
        raise InvalidInput(msg)
    made = []
    for file in books:
        one, seat = files.make(seat, file, name, set_ or ())
        made.append(one)
    others = [word for word in workflows if word not in books]

    async def choose(engine: "Engine") -> list[str]:
        new = [(await files.save(engine, seat, each, reason)).name for each in made]
        return new + (await names.chosen(engine, others, state) if others or state or not new else [])

    def begin(engine: "Engine", name: str) -> Awaitable[Workflow]:
        return engine.run(name, **seat.by(reason))

    return await outlast(seat, choose, begin, alone=names.is_one(workflows, state), creates=bool(made))


async def outlast(seat: Seat, choose: Choose, begin: Begin, *, alone: bool, creates: bool = False) -> Exit:
    """Let workflows run, show how they do, and return when all rest."""
    screen = Board(seat.out) if alone and seat.out.is_terminal else Lines(seat.out)
    results = Results(seat.out)
    async with seat.engine(creates=creates, redirect=screen.output) as engine:
        engine.observer(screen.event)
        known: list[Workflow] = []
        for name in await choose(engine):
            try:
                known.append(await engine.get(name))
            except AwfeError as error:
                results.bad(name, await names.explained(engine, error))
        async with screen:
            await screen.begin(engine, known)
            ended = await Runs(engine, screen, seat.by).outlast([each.name for each in known], begin)
            await screen.finish()
        ended = {name: await names.explained(engine, end) for name, end in ended.items()}
    for name, end in ended.items():
        if isinstance(end, AwfeError):
            results.bad(name, end)
        else:
            results.good(name, end)
        if isinstance(end, StepError):
            seat.out.hint(seat.command("show", name))
    return results.end()


class Runs:
    """The runs of one command, and what asks them to halt."""

    def __init__(self, engine: "Engine", screen: Lines | Board, by: Callable[[str], dict[str, Any]]) -> None:
        """Watch over runs of this engine; `by` says who asks, for a reason."""
        self._engine, self._screen, self._by = engine, screen, by
        self._tasks: dict[str, asyncio.Future[Workflow]] = {}
        self._asking: list[asyncio.Task[None]] = []
        self._interrupts = 0

    async def outlast(self, names: Sequence[str], begin: Begin) -> dict[str, Workflow | AwfeError]:
        """Return what each run came to."""
        self._tasks = {name: asyncio.ensure_future(begin(self._engine, name)) for name in names}
        if not self._tasks:
            return {}
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupted)
        for each in _LEAVE:
            loop.add_signal_handler(each, self._left, each)
        try:
            await asyncio.wait([*self._tasks.values()])
            await asyncio.gather(*self._asking)
        except asyncio.CancelledError:
            # Ctrl-C came before there was a handler for it.
            for task in self._tasks.values():
                task.cancel()
            await asyncio.wait([*self._tasks.values()])
            raise
        finally:
            for each in (signal.SIGINT, *_LEAVE):
                loop.remove_signal_handler(each)
        return {name: _end(task) for name, task in self._tasks.items()}

    def _interrupted(self) -> None:
        self._interrupts += 1
        if self._interrupts == 1:
            self._screen.note("pausing after the current step; Ctrl-C again stops it now")
            self._ask(self._pause)
            return
        self._screen.note(f"stopping: the step has {self._engine.settings.stop_grace:g} s to end")
        self._ask(self._stop)

    def _ask(self, halt: Callable[[str], Awaitable[None]]) -> None:
        for name, task in self._tasks.items():
            if not task.done():
                self._asking.append(asyncio.create_task(self._asked(halt, name)))

    async def _asked(self, halt: Callable[[str], Awaitable[None]], name: str) -> None:
        with suppress(AwfeError):  # what has come to rest meanwhile needs no request
            await halt(name)

    async def _pause(self, name: str) -> None:
        await self._engine.pause(name, **self._by("Ctrl-C"))

    async def _stop(self, name: str) -> None:
        await self._engine.stop(name, **self._by("Ctrl-C, twice"))

    def _left(self, which: signal.Signals) -> None:
        self._screen.note(f"{which.name}: pausing; `awfe recover` goes on")
        self._asking.append(asyncio.create_task(self._engine.close()))


def _end(task: asyncio.Future[Workflow]) -> Workflow | AwfeError:
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, AwfeError):
        return error
    raise error


async def restart(
    *workflows: str,
    from_step: FromStep = None,
    keep_context: Keep = False,
    set_: Sets = None,
    state: States = None,
    yes: Yes = False,
    reason: Reason = None,
    seat: Here,
) -> Exit:
    """Reset the current step and run; or all from a step on, which asks first."""
    how: dict[str, Any] = {"from_step": from_step, "keep_context": keep_context, "context": values.pairs(set_ or ())}

    async def choose(engine: "Engine") -> Sequence[str]:
        chosen = await names.chosen(engine, workflows, state)
        return await planning.agreed(seat, engine, chosen, "restart", yes=yes or from_step is None, **how)

    def begin(engine: "Engine", name: str) -> Awaitable[Workflow]:
        return engine.restart(name, **how, **seat.by(reason))

    return await outlast(seat, choose, begin, alone=names.is_one(workflows, state))


async def rollback(
    *workflows: str,
    include_current: planning.Current = False,
    skip_undo: planning.SkipUndo = False,
    state: States = None,
    yes: Yes = False,
    reason: Reason = None,
    seat: Here,
) -> Exit:
    """Undo the completed steps, the last first. Asks first."""
    how: dict[str, Any] = {"include_current": include_current, "skip_undo": skip_undo}

    async def choose(engine: "Engine") -> Sequence[str]:
        chosen = await names.chosen(engine, workflows, state)
        return await planning.agreed(seat, engine, chosen, "rollback", yes=yes, **how)

    def begin(engine: "Engine", name: str) -> Awaitable[Workflow]:
        return engine.rollback(name, **how, **seat.by(reason))

    return await outlast(seat, choose, begin, alone=names.is_one(workflows, state))
