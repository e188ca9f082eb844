"""All workflows, most urgent first, as they change."""

import asyncio
import signal
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from awfe import checks
from awfe.cli import looks
from awfe.cli.exits import Exit
from awfe.cli.listing import summary_table
from awfe.cli.out import Out, clean
from awfe.cli.seat import Here, Seat
from awfe.domain.records import WorkflowSummary
from awfe.domain.states import ENDED, WorkflowState
from awfe.errors import InvalidInput, StoreUnavailable

if TYPE_CHECKING:
    from awfe import Engine

_URGENT = ("error", "running", "rolling_back", "waiting", "paused", "stopped", "pending", "rolled_back", "completed")
_FRAME = 5
_PIPED = 1000


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


async def _followed(engine: "Engine", prefix: str, known: dict[str, WorkflowSummary]) -> dict[str, WorkflowSummary]:
    """Return what is there, of what is known with it: what is not among the first may be there all the same.

    States are looked at in turn, and one may have changed meanwhile. Where there are too many, those that have ended
    are the first for which there is no room: they are forgotten.
    """
    found = {each.name: each for each in await _look(engine, prefix, _PIPED)}
    for name in known.keys() - found.keys():
        if len(found) >= _PIPED and known[name].state in ENDED:
            del known[name]
            continue
        # From just before it, for the database to find it in its index.
        near = await engine.list(None, name, 1, name[:-1] or None)
        found |= {each.name: each for each in near if each.name == name}
    return found


async def _lines(engine: "Engine", out: Out, prefix: str, interval: float | None) -> None:
    known: dict[str, WorkflowSummary] = {}
    while not out.is_gone:
        try:
            found = await _followed(engine, prefix, known)
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
