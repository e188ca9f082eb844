"""The saved steps of a workflow, which may say anything, too."""

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, Final

import msgspec

from awfe.domain.moves import Head
from awfe.domain.step import NOTHING, Policies, StepSpec
from awfe.persistence import faults
from awfe.persistence.codec import UNREADABLE, corrupt

_policies: Final = msgspec.json.Decoder(Policies)
_arguments: Final = msgspec.json.Decoder(dict[str, Any])


def specs_of(head: Head, rows: Iterable[Sequence[Any]]) -> list[StepSpec]:
    """Return the saved steps, in order; raises `WorkflowCorrupt` where one is missing or too many."""
    try:
        specs = [
            StepSpec(position, name, impl, str.encode(args), str.encode(policies))
            for position, name, impl, args, policies in sorted(rows, key=itemgetter(0))
            if position is not None
        ]
    except UNREADABLE as error:
        raise corrupt(head.name, "awfe_step", faults.brief(error)) from error
    there, wanted = [spec.position for spec in specs], list(range(1, head.step_count + 1))
    if there != wanted:
        odd = f"missing {sorted(set(wanted) - set(there))}, too many {sorted(set(there) - set(wanted))}"
        raise corrupt(head.name, "awfe_step", f"positions of {head.step_count} steps: {odd}")
    return specs


def check(name: str, saved: Iterable[StepSpec]) -> None:
    """Refuse steps that can't be made again, whatever their classes are; raises `WorkflowCorrupt`."""
    for spec in saved:
        # As most have them.
        if (spec.args, spec.policies) != (NOTHING, NOTHING):
            arguments_of(name, spec)
            policies_of(name, spec)


def arguments_of(name: str, spec: StepSpec) -> dict[str, Any]:
    """Return the saved arguments of a step; raises `WorkflowCorrupt`."""
    try:
        return _arguments.decode(spec.args)
    except UNREADABLE as error:
        raise corrupt(name, f"awfe_step.args of step {spec.position}", faults.brief(error)) from error


def policies_of(name: str, spec: StepSpec) -> Policies:
    """Return the saved policies of a step; raises `WorkflowCorrupt`."""
    try:
        return _policies.decode(spec.policies)
    except UNREADABLE as error:
        raise corrupt(name, f"awfe_step.policies of step {spec.position}", faults.brief(error)) from error
