"""One workflow as it stands, and for one that failed all that is needed to decide how it goes on."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

import awfe
from awfe.cli import advice, looks, mermaid, names
from awfe.cli.exits import Exit
from awfe.cli.out import clean
from awfe.cli.progress import row
from awfe.cli.seat import Here
from awfe.domain.records import Workflow, WorkflowStep
from awfe.domain.states import ACTIVE, StepState

if TYPE_CHECKING:
    from awfe.cli.advice import Offer

_TAIL = 20
_OWN = str(Path(awfe.__file__).with_name("steps"))
_LONGEST = 200
_FAILED = (StepState.ERROR, StepState.INTERRUPTED, StepState.STOPPED)


async def show(
    workflow: str,
    *,
    mermaid_: Annotated[bool, Parameter(name="--mermaid", negative=(), help="Print a Mermaid diagram of it.")] = False,
    seat: Here,
) -> Exit:
    """Show a workflow: its steps, its context, what failed, and what can be done now."""
    async with seat.engine() as engine:
        found = await engine.get(workflow)
        if mermaid_:
            drawn = mermaid.diagram(found)
            if seat.out.as_json:
                seat.out.document({"mermaid": drawn})
            else:
                seat.out.show(Text(drawn))
            return Exit.DONE
        plans = await advice.plans(engine, found)
    if seat.out.as_json:
        failed = current(found)
        verbs = {verb: plan.to_dict() for verb, plan in plans.items()}
        seat.out.document({"workflow": found.to_dict(), "failed": failed and failed.position, "verbs": verbs})
    else:
        offers = advice.offers(seat, found, plans)
        if plans["run"].error == "StepNotFound" or plans["restart"].error == "StepNotFound":
            knowing = seat.importing(names.unknown_modules(found)).command("show", workflow)
            offers.insert(0, advice.Offer(knowing, "knows its steps, which run, restart and rollback need"))
        # Only what rests can be deleted.
        is_left = found.state in ACTIVE and plans["delete"].allowed
        seat.out.show(*picture(found, offers, is_left=is_left))
    return Exit.DONE


def current(workflow: Workflow) -> WorkflowStep | None:
    """Return the step at which a workflow has failed, or was stopped."""
    if workflow.position is None:
        return None
    step = workflow.steps[workflow.position - 1]
    return step if step.state in _FAILED else None


def picture(workflow: Workflow, offers: "list[Offer]", *, is_left: bool = False) -> list[RenderableType]:
    """Return what `show` shows; `is_left` says that its runner is gone."""
    head = Text.assemble((clean(workflow.name), "bold"), "  ", looks.state(workflow.state))
    if workflow.request:
        head.append(f"  asked to {workflow.request}", "yellow")
    if is_left:
        head.append("  its runner is gone", "bold red")
    times = [f"created {looks.moment(workflow.created_at)}"]
    times += [f"to start {looks.moment(workflow.scheduled_at)}"] if workflow.scheduled_at else []
    times += [f"started {looks.moment(workflow.started_at)}"] if workflow.started_at else []
    times += [f"ended {looks.moment(workflow.ended_at)}"] if workflow.ended_at else []
    parts: list[RenderableType] = [head, Text(", ".join(times), "dim"), Text("")]
    parts.append(looks.table(("", "STEP", "", "TRY", "TIME", ""), map(row, workflow.steps)))
    if workflow.context:
        parts += [Text("\nContext", "bold"), *(_pair(key, value) for key, value in workflow.context.items())]
    if (failed := current(workflow)) is not None:
        parts += _failure(failed)
    elif workflow.position and (waits := workflow.steps[workflow.position - 1]).state is StepState.WAITING:
        parts += _printed(f"\nStep {waits.position} {clean(waits.name)} waits; it printed, in the end:", waits)
    if offers:
        rows = ((f"  {offer.command}", offer.effect) for offer in offers)
        parts += [Text("\nNow", "bold"), looks.table(("", ""), rows, head=False)]
    return parts


def _pair(key: str, value: Any, sign: str = "=") -> Text:
    shown = json.dumps(value, ensure_ascii=False)
    if len(shown) > _LONGEST:
        shown = f"{shown[:_LONGEST]}… ({len(shown)} characters)"
    return Text(f"  {clean(key)} {sign} {clean(shown)}")


def _failure(step: WorkflowStep) -> list[RenderableType]:
    ended = f" {looks.moment(step.ended_at)}" if step.ended_at else ""
    what = {StepState.ERROR: "failed", StepState.STOPPED: "was stopped"}.get(step.state, "was interrupted")
    head = f"\nStep {step.position} {clean(step.name)} {what}, attempt {step.attempt},{ended}"
    parts: list[RenderableType] = [Text(head, "bold")]
    if step.error is not None:
        message = _untwice(step.error.message.splitlines(), step.output.splitlines())
        parts.append(Text(clean(f"  {step.error.type}: {message[0]}"), "red"))
        parts += [Text(clean(f"  {line}"), "red") for line in message[1:_TAIL]]
        parts += [Text(clean(f"  {line}"), "dim") for line in _where(step.error.traceback)]
    if step.changes.set or step.changes.unset:
        parts.append(Text("  It had changed, and but for what it checkpointed this is dropped without --keep-context:"))
        parts += [_pair(f"  {key}", value) for key, value in step.changes.set.items()]
        parts += [Text(f"    {clean(key)} removed") for key in step.changes.unset]
    return parts + _printed("  It printed, in the end:", step)


def _printed(head: str, step: WorkflowStep) -> list[RenderableType]:
    lines = [Text(clean(f"  | {line}"), "dim") for line in step.output.splitlines()[-_TAIL:]]
    return [Text(head), *lines] if lines else []


def _untwice(message: list[str], output: list[str]) -> list[str]:
    """Return a message without the output that it ends with, which is shown by itself."""
    whole = len(message)
    while len(message) > 1 and message[-1] in output:
        message = message[:-1]
    if len(message) > 1 and len(message) < whole and message[-1].endswith(":"):
        message = message[:-1]
    return message or [""]


def _where(traceback: str) -> list[str]:
    """Return the last place of a traceback, with its line of code; one in awfe's own steps tells nobody anything."""
    lines = traceback.splitlines()
    places = [number for number, line in enumerate(lines) if line.startswith('  File "')]
    if not places or _OWN in lines[places[-1]]:
        return []
    return [line.strip() for line in lines[places[-1] : places[-1] + 2]]
