"""What can be done with a workflow now, and the very commands to type."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from awfe.cli.seat import Seat
from awfe.domain.records import Plan, PlannedStep, Workflow

if TYPE_CHECKING:
    from awfe.engine import Engine

_ANSWERS = ("approve", "reject")
_PLANNED = (*_ANSWERS, "run", "restart", "skip", "pause", "stop", "rollback", "delete")
_RUN = ("run", "restart", "rollback")
_SAYS = {"approve": "says yes", "reject": "says no: the step fails", "skip": "passes over the current step"}
_DOES = {"run": "runs", "undo": "undoes"}


@dataclass(frozen=True, slots=True)
class Offer:
    """A command, and what it would do."""

    command: str
    effect: str


async def plans(engine: "Engine", workflow: Workflow) -> dict[str, Plan]:
    """Return what each verb would do now."""
    return {verb: await engine.plan(workflow.name, verb) for verb in _PLANNED}


def offers(seat: Seat, workflow: Workflow, planned: Mapping[str, Plan]) -> list[Offer]:
    """Return the commands that would not be refused, and at the end which would be."""
    name = workflow.name
    commands = {verb: seat.command(verb, name) for verb in planned}
    commands["skip"] += " --reason WHY"
    found = [Offer(commands[verb], _effect(plan)) for verb, plan in planned.items() if plan.allowed and _acts(plan)]
    step = None if workflow.position is None else workflow.steps[workflow.position - 1]
    if planned["skip"].allowed and step is not None:
        found.insert(1, Offer(f"{seat.command('context', 'set', name)} KEY=VALUE", "changes the context first"))
    if planned["restart"].allowed and step is not None and (step.changes.set or step.changes.unset):
        found.insert(1, Offer(f"{commands['restart']} --keep-context", "the same, with what the step had changed"))
    if step is not None and step.state == "waiting" and step.signal and not planned["approve"].allowed:
        found.insert(0, Offer(f"{seat.command('signal', name, step.signal)} PAYLOAD", "is what it waits for"))
    refused = [verb for verb, plan in planned.items() if not plan.allowed and verb not in _ANSWERS]
    if refused and found:
        why = seat.command("plan", "VERB", name)
        found.append(Offer(why, f"tells why {', '.join(refused)} {'is' if len(refused) == 1 else 'are'} refused"))
    return found


def _acts(plan: Plan) -> bool:
    """Say whether a verb that is allowed would do anything."""
    return plan.leads_to != plan.state or plan.verb not in ("run", "pause", "stop")


def _effect(plan: Plan) -> str:
    done = [
        f"{says} step{'s' if len(chosen) > 1 else ''} {numbers(chosen)}"
        for action, says in (_DOES.items() if plan.verb in _RUN else ())
        if (chosen := [step for step in plan.steps if step.action == action])
    ]
    if plan.verb == "rollback" and not done:
        done = ["undoes nothing"]
    if plan.verb in _SAYS:
        done = [_SAYS[plan.verb]]
    if plan.leads_to is None:
        return "removes it for good"
    return f"{', '.join(done)} → {plan.leads_to}".strip()


def numbers(steps: list[PlannedStep]) -> str:
    """Return positions in the order in which they come, with neighbours as one range."""
    runs: list[list[int]] = [[steps[0].position]]
    for before, after in pairwise(steps):
        if abs(after.position - before.position) == 1:
            runs[-1].append(after.position)
        else:
            runs.append([after.position])
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)
