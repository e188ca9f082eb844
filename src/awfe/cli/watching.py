"""All workflows, most urgent first, as they change; and those that nobody runs, taken up."""

import asyncio
import signal
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from awfe import checks
from awfe.cli import looks
from awfe.cli.exits import Exit
from awfe.cli.listing import summary_table
from awfe.cli.names import unknown_modules
from awfe.cli.out import Out, clean
from awfe.cli.progress import Lines
from awfe.cli.running import Runs
from awfe.cli.seat import Here, Reason, Seat
from awfe.domain.records import Workflow, WorkflowSummary
from awfe.domain.states import WorkflowState
from awfe.errors import InvalidInput, StoreUnavailable, WorkflowCorrupt, WorkflowNotFound

if TYPE_CHECKING:
    from awfe import Engine

_URGENT = ("error", "running", "rolling_back", "waiting", "paused", "stopped", "pending", "rolled_back", "completed")
_FRAME = 5
_PIPED = 1000
_CODES = {"error": Exit.FAILED, "paused": Exit.HALTED, "stopped": Exit.HALTED}


async def watch(
    *,
    interval: Annotated[float, Parameter(help="Seconds between two looks.")] = 1.0,
    prefix: Annotated[str, Parameter(help="Only names that begin so.")] = "",
    once: Annotated[bool, Parameter(negative=(), help="Look once.")] = False,
    seat: Here,
) -> Exit:
    """Watch all workflows, the most urgent first, until Ctrl-C. Without a terminal: a line for each change.

    A database that goes away meanwhile is told, and asked again.
    """
    checks.seconds("interval", interval)
    if interval <= 0:
        msg = f"interval={interval:g}: give seconds, above 0"
        raise InvalidInput(msg)
    looking = asyncio.ensure_future(_watch(seat, prefix, None if once else interval))
    # Also in the middle of a look at a database that does not answer.
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, looking.cancel)
    await asyncio.wait([looking])
    if not looking.cancelled():
        looking.result()
    return Exit.DONE


async def _watch(seat: Seat, prefix: str, interval: float | None) -> None:
    async with seat.engine() as engine:
        if interval is None or not seat.out.is_terminal:
            await _lines(engine, seat.out, prefix, interval)
            return
        with Live(console=seat.out.console, screen=True, auto_refresh=False) as live:
            shown: RenderableType = Text("")
            while True:
                try:
                    found = await _look(engine, prefix, seat.out.console.height - _FRAME)
                    shown = picture(found, Counter(each.state for each in found) if prefix else await engine.stats())
                    live.update(shown, refresh=True)
                except StoreUnavailable as error:
                    live.update(Group(Text(clean(str(error)), "bold red"), Text(""), shown), refresh=True)
                await asyncio.sleep(interval)


async def _look(engine: "Engine", prefix: str, room: int) -> list[WorkflowSummary]:
    found: list[WorkflowSummary] = []
    for state in _URGENT:
        if len(found) < room:
            found += await engine.list(state, prefix, room - len(found))
    return found


def picture(found: list[WorkflowSummary], stats: Mapping[WorkflowState, int]) -> RenderableType:
    """Return what `watch` shows on a terminal."""
    counts = Text("  ").join(
        Text.assemble((str(stats[state]), "bold"), " ", looks.state(state))
        for state in map(WorkflowState, _URGENT)
        if stats.get(state)
    )
    more = sum(stats.values()) - len(found)
    foot = [Text(f"and {more} more", "dim")] if more > 0 else []
    return Group(counts, Text(""), summary_table(found), *foot)


async def _overlooked(engine: "Engine", names: Iterable[str]) -> dict[str, WorkflowSummary]:
    """Return those that are there all the same: states are looked at in turn, and one may have changed meanwhile."""
    first = [each for name in names for each in await engine.list(None, name, 1) if each.name == name]
    return {each.name: each for each in first}


async def _lines(engine: "Engine", out: Out, prefix: str, interval: float | None) -> None:
    known: dict[str, WorkflowSummary] = {}
    while not out.is_gone:
        try:
            found = {each.name: each for each in await _look(engine, prefix, _PIPED)}
            found |= await _overlooked(engine, known.keys() - found.keys())
        except StoreUnavailable as error:
            if interval is None:
                raise
            out.note(str(error))
            await asyncio.sleep(interval)
            continue
        changed = [each for name, each in found.items() if known.get(name) != each]
        if out.as_json:
            for each in changed:
                out.document(each.to_dict())
            for name in known.keys() - found.keys():
                out.document({"name": name, "state": None})
        else:
            for each in changed:
                step = f", step {each.position} {each.step}" if each.position else ""
                out.line(f"{each.name}: {each.state}{step}{f': {each.error}' if each.error else ''}")
            for name in known.keys() - found.keys():
                out.line(f"{name}: deleted")
        known = found
        if interval is None:
            return
        await asyncio.sleep(interval)


async def recover(*, reason: Reason = None, seat: Here) -> Exit:
    """Take up what nobody runs any more, what is due, and what a shutdown has paused; wait until it rests or waits."""
    screen = Lines(seat.out)
    async with seat.engine(redirect=screen.output) as engine:
        engine.observer(screen.event)
        recovered = await engine.recover(**seat.by(reason))
        await screen.begin(engine, [await engine.get(name) for name in recovered.started])
        ended = await Runs(engine, screen, lambda why: seat.by(reason or why)).outlast(recovered.started, _rested)
        await screen.finish()
        left = {name: await _left(engine, name) for name in (*recovered.refused, *ended)}
    states = {name: workflow and workflow.state for name, workflow in left.items()}
    strange = [workflow for name in recovered.refused if (workflow := left[name]) and workflow.state != "error"]
    codes = [Exit.FAILED for _ in recovered.refused] + [_CODES.get(states[name] or "", Exit.DONE) for name in ended]
    code = max(codes, default=Exit.DONE)
    if seat.out.as_json:
        lists = {"started": list(recovered.started), "refused": list(recovered.refused)}
        seat.out.document({**lists, "states": states, "exit": code})
        return code
    for name, state in states.items():
        needs = " (it needs an operator)" if name in recovered.refused else ""
        seat.out.line(f"{name}: {state or 'can not be read'}{needs}")
    if strange:
        modules = [module for workflow in strange for module in unknown_modules(workflow)]
        seat.out.hint(seat.importing(modules).command("recover"), "steps are not known here; try")
    if not states:
        seat.out.line("there is nothing to take up")
    return code


async def _left(engine: "Engine", name: str) -> Workflow | None:
    """Return a workflow as it is now, None of one that can't be understood, or was deleted meanwhile."""
    with suppress(WorkflowCorrupt, WorkflowNotFound):
        return await engine.get(name)
    return None


async def _rested(engine: "Engine", name: str) -> Workflow:
    while True:
        try:
            return await engine.wait(name, engine.settings.poll_interval)
        except TimeoutError:
            workflow = await engine.get(name)
            if workflow.state is WorkflowState.WAITING:
                return workflow
