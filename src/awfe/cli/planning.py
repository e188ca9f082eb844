"""What a verb would do; shown before it does what can't be undone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from awfe import checks, errors
from awfe.cli import asking, bulk, names, values
from awfe.cli.exits import Exit, code_of
from awfe.cli.seat import Here, Reason, Seat, Sets, States, Yes
from awfe.cli.verbs import FromStep, Keep
from awfe.domain.records import Workflow
from awfe.domain.states import ENDED

if TYPE_CHECKING:
    from awfe.engine import Engine

_STEER = ("run", "pause", "stop", "signal", "approve", "reject")
VERBS = (*_STEER, "reset", "restart", "skip", "context", "rollback", "delete")
_CALLED = {"resume": "run", "context": "update_context"}
Current = Annotated[bool, Parameter(negative=(), help="Undo the step that failed, too.")]
SkipUndo = Annotated[bool, Parameter(negative=(), help="Go on after the undo at which a rollback was.")]


async def plan(  # noqa: PLR0913 - each is of some verb
    verb: Annotated[str, Parameter(help=f"One of {', '.join(VERBS)}.")],
    workflow: str,
    *,
    from_step: FromStep = None,
    keep_context: Keep = False,
    set_: Sets = None,
    include_current: Current = False,
    skip_undo: SkipUndo = False,
    topic: Annotated[str | None, Parameter(help="The topic of the signal.")] = None,
    seat: Here,
) -> Exit:
    """Tell what a verb would run, keep, skip, undo or drop, or why it would be refused; nothing is changed."""
    if verb not in (*VERBS, *_CALLED):
        msg = f"{verb!r} is none of {', '.join(VERBS)}"
        raise errors.InvalidInput(msg)
    called = _CALLED.get(verb, verb)
    given: dict[str, Any] = {
        "from_step": from_step,
        "keep_context": keep_context,
        "values" if called == "update_context" else "context": values.pairs(set_ or ()),
        "include_current": include_current,
        "skip_undo": skip_undo,
        "topic": topic,
    }
    arguments = {key: value for key, value in given.items() if value}
    if called == "update_context":
        arguments.setdefault("values", {})
    async with seat.engine() as engine:
        found = await engine.plan(workflow, called, **arguments)
        if found.error == "StepNotFound":
            seat = seat.importing(names.unknown_modules(await engine.get(workflow)))
    if seat.out.as_json:
        seat.out.document(found.to_dict())
    else:
        for line in found.lines():
            seat.out.line(line)
        if found.error == "StepNotFound":
            seat.out.hint(seat.command("plan", verb, workflow))
    return Exit.DONE if found.allowed else refusal(found.error)


def refusal(error: str | None) -> Exit:
    """Return the exit code of what a verb would raise."""
    kind: type[errors.AwfeError] = getattr(errors, error or "", errors.AwfeError)
    return code_of(kind.__new__(kind))


async def agreed(
    seat: Seat, engine: "Engine", chosen: Sequence[str], verb: str, *, yes: bool, **arguments: Any
) -> Sequence[str]:
    """Return the names when it may be done: show what would be, and ask."""
    if not yes and chosen:
        asking.expect_terminal(seat.out)
        for name in chosen:
            for line in (await engine.plan(name, verb, **arguments)).lines():
                seat.out.line(line)
        asking.confirm(f"{verb} {chosen[0] if len(chosen) == 1 else f'{len(chosen)} workflows'}?")
    return chosen


async def reset(
    *workflows: str,
    from_step: FromStep = None,
    keep_context: Keep = False,
    set_: Sets = None,
    state: States = None,
    yes: Yes = False,
    reason: Reason = None,
    seat: Here,
) -> Exit:
    """Make the current step pending again, or all from a step on; that asks first."""
    how: dict[str, Any] = {"from_step": from_step, "keep_context": keep_context, "context": values.pairs(set_ or ())}
    async with seat.engine() as engine:

        async def act(name: str) -> Workflow:
            return await engine.reset(name, **how, **seat.by(reason))

        chosen = await names.chosen(engine, workflows, state)
        await agreed(seat, engine, chosen, "reset", yes=yes or from_step is None, **how)
        return await bulk.each(engine, seat.out, chosen, "reset", act)


async def delete(*workflows: str, state: States = None, yes: Yes = False, reason: Reason = None, seat: Here) -> Exit:
    """Delete workflows; who did it and why is left of them. Asks first."""
    async with seat.engine() as engine:

        async def act(name: str) -> None:
            await engine.delete(name, **seat.by(reason))

        chosen = await names.chosen(engine, workflows, state)
        await agreed(seat, engine, chosen, "delete", yes=yes)
        return await bulk.each(engine, seat.out, chosen, "deleted", act)


async def purge(
    *,
    older_than: Annotated[str, Parameter(help="Since when they have been in their state, such as 30d or 12h.")],
    state: States = None,
    yes: Yes = False,
    reason: Reason = None,
    seat: Here,
) -> Exit:
    """Delete workflows that have been completed or rolled back (or in --state) for longer. Asks first."""
    age, states = values.age(older_than), state or [*ENDED]
    async with seat.engine() as engine:
        if not yes:
            asking.expect_terminal(seat.out)
            stats = await engine.stats()
            there = ", ".join(f"{stats.get(each, 0)} {each}" for each in checks.deletable(states))
            seat.out.line(f"of {there}: all that have been so for longer than {older_than}")
            asking.confirm("purge them?")
        purged = await engine.purge(age, states, **seat.by(reason))
    code = Exit.STATE if purged.refused else Exit.DONE
    if seat.out.as_json:
        seat.out.document({**purged.to_dict(), "exit": code})
        return code
    for name in purged.deleted:
        seat.out.line(f"{name}: deleted")
    for name in purged.refused:
        seat.out.note(f"{name!r} stays: a workflow that it has begun is not at rest")
    if not purged.deleted and not purged.refused:
        seat.out.line("there is none")
    return code
