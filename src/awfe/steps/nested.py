"""Steps inside the arguments of another step: saved as they are in a workflow, found in the registry only."""

import copy
import dataclasses
from typing import Any

import msgspec

from awfe.domain.context import Context
from awfe.domain.step import BaseStep, StepSpec, called, save
from awfe.domain.values import decode, encode
from awfe.errors import InvalidInput


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    impl: str
    args: dict[str, Any]
    policies: dict[str, Any]
    name: str = ""


def saved(given: Any) -> dict[str, Any]:
    """Return a step, or what this has returned before, as `{impl, args, policies}`; raises `InvalidInput`."""
    if isinstance(given, dict):
        load(given)
        return given
    spec = save(1, given)
    name = {"name": spec.name} if isinstance(given, BaseStep) and called(given) != type(given).__name__ else {}
    return {"impl": spec.impl, "args": decode(spec.args), "policies": decode(spec.policies), **name}


def load(given: dict[str, Any]) -> BaseStep:
    """Make the step again; raises `InvalidInput` for what is not registered or does not fit."""
    try:
        found = msgspec.convert(given, _Saved)
        args = encode(found.args, "args", InvalidInput)
        return StepSpec(1, found.name, found.impl, args, msgspec.json.encode(found.policies)).load()
    except (LookupError, msgspec.ValidationError) as error:
        msg = f"the step inside: {error.args[0]}"
        raise InvalidInput(msg) from error


def opened(step: BaseStep, ctx: Context) -> BaseStep:
    """Return the step with the texts of its secrets, as the engine does for steps of a workflow."""
    clone: Any = copy.copy(step)
    for field in dataclasses.fields(clone) if dataclasses.is_dataclass(clone) else ():
        object.__setattr__(clone, field.name, ctx.reveal(getattr(step, field.name)))
    made: BaseStep = clone
    return made
