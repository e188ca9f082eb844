"""The JSON Schema of runbooks, made from the types that check them; for editors."""

from inspect import cleandoc
from typing import Any, Final

import msgspec

from awfe.domain.secret import KEY
from awfe.runbooks.keys import KINDS, InputKeys, RetryKeys, RunbookKeys

URL: Final = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """Return it; it allows what can be told by the shape alone."""
    made = (RunbookKeys, InputKeys, RetryKeys, *KINDS.values())
    _, defs = msgspec.json.schema_components(made, ref_template="#/$defs/{name}")
    for each in defs.values():
        if "description" in each:
            # Before 0.23 msgspec leaves a docstring indented.
            each["description"] = cleandoc(each["description"])
    runbook = defs.pop("RunbookKeys")
    runbook["properties"]["context"] = {
        "description": "the values that the steps find; one without a default must be given",
        "type": "object",
        "additionalProperties": {"anyOf": [{"$ref": "#/$defs/InputKeys"}, {"$ref": "#/$defs/Value"}]},
    }
    secret = {"type": "object", "properties": {KEY: {"type": "string"}}, "required": [KEY]}
    defs["Value"] = {"anyOf": [{"type": ["string", "number", "boolean", "array"]}, secret]}
    defs["Step"] = {
        "type": "object",
        "oneOf": [{"required": [kind]} for kind in KINDS],
        # One branch for each kind, so that an editor tells of the right one only.
        "allOf": [
            {"if": {"required": [kind]}, "then": {"$ref": f"#/$defs/{keys.__name__}"}} for kind, keys in KINDS.items()
        ],
    }
    return {"$schema": URL, **runbook, "title": "Runbook", "patternProperties": {"^x-": {}}, "$defs": defs}
