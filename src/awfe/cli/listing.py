"""Many workflows, or all that happened to one, a line each."""

import json
from typing import Annotated

from cyclopts import Parameter

from awfe import checks
from awfe.cli import looks, names
from awfe.cli.exits import Exit
from awfe.cli.seat import Here, States
from awfe.domain.records import Event, WorkflowSummary

_HEADINGS = ("NAME", "STATE", "STEP", "STARTED", "TOOK", "ERROR")


async def list_(
    *,
    state: States = None,
    prefix: Annotated[str, Parameter(help="Only names that begin so.")] = "",
    limit: Annotated[int | None, Parameter(help="At most so many.")] = None,
    deleted: Annotated[bool, Parameter(negative=(), help="What is left of those that were deleted.")] = False,
    seat: Here,
) -> Exit:
    """List workflows by name."""
    for each_state in state or ():
        checks.state(each_state)
    if limit is not None:
        checks.whole("limit", limit)
    async with seat.engine() as engine:
        if deleted:
            tombstones = await engine.deleted()
            if seat.out.as_json:
                seat.out.document({"deleted": [each.to_dict() for each in tombstones]})
            else:
                rows = [(t.name, looks.moment(t.deleted_at), t.actor or "", t.reason or "") for t in tombstones]
                seat.out.show(looks.table(("NAME", "DELETED", "ACTOR", "REASON"), rows))
            return Exit.DONE
        found: list[WorkflowSummary] = []
        async for each in names.summaries(engine, state, prefix):
            if limit is not None and len(found) == limit:
                break
            found.append(each)
    if seat.out.as_json:
        seat.out.document({"workflows": [each.to_dict() for each in found]})
    elif found:
        seat.out.show(summary_table(found))
    else:
        seat.out.line("there is none")
    return Exit.DONE


def summary_table(found: list[WorkflowSummary]) -> looks.Rows:
    """Return workflows as a table."""
    return looks.table(
        _HEADINGS,
        (
            (
                each.name,
                looks.state(each.state),
                f"{each.position} {each.step}" if each.position else "",
                looks.moment(each.started_at),
                looks.span(each.started_at, each.ended_at) if each.started_at else "",
                f"asked to {each.request}" if each.request else each.error or "",
            )
            for each in found
        ),
    )


async def history(workflow: str, *, seat: Here) -> Exit:
    """Show all that happened to a workflow: when, what, by whom and why."""
    async with seat.engine() as engine:
        events = await engine.history(workflow)
    if seat.out.as_json:
        seat.out.document({"events": [each.to_dict() for each in events]})
    else:
        seat.out.show(looks.table(("AT", "WHAT", "STEP", "STATE", "BY", "WHY, AND WHAT CHANGED"), map(_line, events)))
    return Exit.DONE


def _line(event: Event) -> tuple[str, ...]:
    step = "" if event.step is None else f"{event.step}" + (f" (attempt {event.attempt})" if event.attempt else "")
    moved = event.before != event.after
    state = f"{event.before} → {event.after}" if moved and event.before else str(event.after or event.before or "")
    changed = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in event.changes.set.items()]
    changed += [f"no {key}" for key in event.changes.unset]
    why = [event.error.first_line] if event.error is not None else []
    why += [event.reason] if event.reason else []
    why += [", ".join(changed)] if changed else []
    return looks.moment(event.at), event.cause, step, state, event.actor or "", "; ".join(why)
