"""The context of a workflow: shown, and changed at rest."""

import json
from typing import Annotated

from cyclopts import Parameter

from awfe.cli import bulk, values
from awfe.cli.exits import Exit
from awfe.cli.seat import Here, Reason
from awfe.domain.records import Workflow
from awfe.errors import InvalidInput


async def get(
    workflow: str,
    *keys: Annotated[str, Parameter(help="Only these, each as JSON on a line of its own.")],
    seat: Here,
) -> Exit:
    """Show the context, or the values of some keys."""
    async with seat.engine() as engine:
        context = (await engine.get(workflow)).context
    if missing := [key for key in keys if key not in context]:
        there = ", ".join(context) or "no keys"
        msg = f"{workflow!r} has no {', '.join(map(repr, missing))} in its context; there are {there}"
        raise InvalidInput(msg)
    shown = {key: context[key] for key in keys or context}
    if seat.out.as_json:
        seat.out.document({"context": shown})
    elif keys:
        for value in shown.values():
            seat.out.line(json.dumps(value, ensure_ascii=False))
    else:
        seat.out.line(json.dumps(shown, ensure_ascii=False, indent=2))
    return Exit.DONE


async def set_(workflow: str, *pairs: str, reason: Reason = None, seat: Here) -> Exit:
    """Set values of the context, each as key=value: JSON, or else a text."""
    given = values.pairs(pairs)
    if not given:
        msg = "what shall be set? give key=value"
        raise InvalidInput(msg)
    async with seat.engine() as engine:

        async def act(name: str) -> Workflow:
            return await engine.update_context(name, given, **seat.by(reason))

        return await bulk.each(engine, seat.out, [workflow], "context changed", act)


async def unset(workflow: str, *keys: str, reason: Reason = None, seat: Here) -> Exit:
    """Remove keys from the context."""
    if not keys:
        msg = "what shall be removed? give a key"
        raise InvalidInput(msg)
    async with seat.engine() as engine:

        async def act(name: str) -> Workflow:
            return await engine.update_context(name, {}, keys, **seat.by(reason))

        return await bulk.each(engine, seat.out, [workflow], "context changed", act)
