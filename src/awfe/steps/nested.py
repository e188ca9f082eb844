"""Steps inside the arguments of another step: saved as they are in a workflow, found in the registry only."""

from typing import Any

import msgspec

from awfe.domain.step import BaseStep, StepSpec, save
from awfe.domain.values import decode
from awfe.errors import InvalidInput


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    impl: str
    args: dict[str, Any]
    policies: dict[str, Any]


def saved(given: Any) -> dict[str, Any]:
    """Return a step, or what this has returned before, as `{impl, args, policies}`; raises `InvalidInput`."""
    if isinstance(given, dict):
        load(given)
        return given
    spec = save(1, given)
    return {"impl": spec.impl, "args": decode(spec.args), "policies": decode(spec.policies)}


def load(given: dict[str, Any]) -> BaseStep:
    """Make the step again; raises `InvalidInput` for what is not registered or does not fit."""
    try:
        found = msgspec.convert(given, _Saved)
        args, policies = msgspec.json.encode(found.args), msgspec.json.encode(found.policies)
        return StepSpec(1, "", found.impl, args, policies).load()
    except (LookupError, msgspec.ValidationError) as error:
        msg = f"the step inside: {error.args[0]}"
        raise InvalidInput(msg) from error
