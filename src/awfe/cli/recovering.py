"""Workflows that nobody runs, taken up."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from awfe.cli.exits import Exit
from awfe.cli.names import unknown_modules
from awfe.cli.progress import Lines
from awfe.cli.running import Runs
from awfe.cli.seat import Here, Reason, Seat
from awfe.domain.records import Workflow
from awfe.domain.states import WorkflowState
from awfe.errors import WorkflowCorrupt, WorkflowNotFound

if TYPE_CHECKING:
    from awfe import Engine

# A workflow, or why it can't be shown.
Seen = Workflow | WorkflowCorrupt | WorkflowNotFound
_CODES = {"error": Exit.FAILED, "paused": Exit.HALTED, "stopped": Exit.HALTED}


async def recover(*, reason: Reason = None, seat: Here) -> Exit:
    """Take up what nobody runs any more, what is due, and what a shutdown has paused; wait until it rests or waits."""
    screen = Lines(seat.out)
    async with seat.engine(redirect=screen.output) as engine:
        engine.observer(screen.event)
        recovered = await engine.recover(**seat.by(reason))
        # As they are now: a person may mend one while others run.
        refused = await _seen(engine, recovered.refused)
        begun = await _seen(engine, recovered.started)
        await screen.begin(engine, [each for each in begun.values() if isinstance(each, Workflow)])
        await Runs(engine, screen, lambda why: seat.by(reason or why)).outlast(recovered.started, _rested)
        await screen.finish()
    # With another engine: SIGTERM has closed the first.
    async with seat.engine() as engine:
        ended = await _seen(engine, recovered.started)
    code = max([Exit.DONE, *(Exit.FAILED for _ in refused), *map(_code, ended.values())])
    states = {name: each.state if isinstance(each, Workflow) else None for name, each in (refused | ended).items()}
    if seat.out.as_json:
        lists = {"started": list(recovered.started), "refused": list(recovered.refused)}
        seat.out.document({**lists, "states": states, "exit": code})
        return code
    for name, each in refused.items():
        seat.out.line(f"{name}: {_told(each)} (it needs an operator)")
    for name, each in ended.items():
        seat.out.line(f"{name}: {_told(each)}")
    _hint(seat, refused.values())
    if not states:
        seat.out.line("there is nothing to take up")
    return code


async def _seen(engine: "Engine", names: Iterable[str]) -> dict[str, Seen]:
    found: dict[str, Seen] = {}
    for name in names:
        try:
            found[name] = await engine.get(name)
        except (WorkflowCorrupt, WorkflowNotFound) as error:
            found[name] = error
    return found


def _told(seen: Seen) -> str:
    if isinstance(seen, Workflow):
        return seen.state
    return "deleted" if isinstance(seen, WorkflowNotFound) else "can not be read"


def _code(seen: Seen) -> Exit:
    if isinstance(seen, Workflow):
        return _CODES.get(seen.state, Exit.DONE)
    return Exit.DONE if isinstance(seen, WorkflowNotFound) else Exit.FAILED


def _hint(seat: Seat, refused: Iterable[Seen]) -> None:
    """Tell which modules to import: only what can't be made is refused, and not in error."""
    strange = [each for each in refused if isinstance(each, Workflow) and each.state is not WorkflowState.ERROR]
    modules = dict.fromkeys(module for each in strange for module in unknown_modules(each))
    if modules:
        seat.out.hint(seat.importing(modules).command("recover"), "steps are not known here; try")


async def _rested(engine: "Engine", name: str) -> Workflow:
    while True:
        try:
            return await engine.wait(name, engine.settings.poll_interval)
        except TimeoutError:
            workflow = await engine.get(name)
            if workflow.state is WorkflowState.WAITING:
                return workflow
