"""The verbs that steer, each a few lines over the engine's."""

from typing import Annotated, Any

from cyclopts import Parameter

from awfe.cli import bulk, names, values
from awfe.cli.exits import Exit
from awfe.cli.seat import Here, Reason, Sets, States
from awfe.domain.records import Workflow

FromStep = Annotated[int | None, Parameter(help="From this step on, counted from 1, and not only the current one.")]
Keep = Annotated[bool, Parameter(negative=(), help="Take over what the failed attempt had changed.")]


async def pause(*workflows: str, state: States = None, reason: Reason = None, seat: Here) -> Exit:
    """Pause workflows after their current step."""
    async with seat.engine() as engine:

        async def act(name: str) -> None:
            await engine.pause(name, **seat.by(reason))

        return await bulk.each(engine, seat.out, await names.chosen(engine, workflows, state), "will pause", act)


async def stop(
    *workflows: str,
    grace: Annotated[float | None, Parameter(help="Seconds that the step has to end.")] = None,
    state: States = None,
    reason: Reason = None,
    seat: Here,
) -> Exit:
    """Stop workflows now: the current step is cancelled."""
    async with seat.engine() as engine:

        async def act(name: str) -> None:
            await engine.stop(name, grace, **seat.by(reason))

        return await bulk.each(engine, seat.out, await names.chosen(engine, workflows, state), "will stop", act)


async def skip(
    *workflows: str,
    set_: Sets = None,
    reason: Annotated[str, Parameter(help="Why: it stays in the history. Required.")],
    state: States = None,
    seat: Here,
) -> Exit:
    """Pass over the current step, with --set as what it changed."""
    context = values.pairs(set_ or ())
    async with seat.engine() as engine:

        async def act(name: str) -> Workflow:
            return await engine.skip(name, context=context, **seat.by(reason))

        return await bulk.each(engine, seat.out, await names.chosen(engine, workflows, state), "skipped", act)


async def signal(
    workflow: str,
    topic: str,
    payload: Annotated[str | None, Parameter(help="JSON, or else a text.")] = None,
    *,
    reason: Reason = None,
    seat: Here,
) -> Exit:
    """Send a signal to a workflow; the step that waits for its topic, now or later, takes it."""
    sent: Any = None if payload is None else values.value(payload)
    async with seat.engine() as engine:

        async def act(name: str) -> None:
            await engine.signal(name, topic, sent, **seat.by(reason))

        return await bulk.each(engine, seat.out, [workflow], "signal stored", act)


async def approve(*workflows: str, reason: Reason = None, state: States = None, seat: Here) -> Exit:
    """Approve what a step asks for."""
    async with seat.engine() as engine:

        async def act(name: str) -> None:
            await engine.approve(name, actor=seat.actor, comment=reason)

        return await bulk.each(engine, seat.out, await names.chosen(engine, workflows, state), "approved", act)


async def reject(*workflows: str, reason: Reason = None, state: States = None, seat: Here) -> Exit:
    """Reject what a step asks for: it fails."""
    async with seat.engine() as engine:

        async def act(name: str) -> Workflow:
            return await engine.reject(name, actor=seat.actor, comment=reason)

        return await bulk.each(engine, seat.out, await names.chosen(engine, workflows, state), "rejected", act)
