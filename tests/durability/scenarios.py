"""What the sweeps disturb at each of its calls to the database: short lives of one workflow, or of some at once.

A scenario is acted by `Actor`, in a process that is about to die or in one whose calls fail.
"""

import asyncio
from datetime import UTC, datetime
from typing import Any

from awfe import BaseStep, Retry
from awfe.domain.decide import LONG_DELAY
from awfe.domain.moves import By
from awfe.domain.takeover import taken_over
from tests.durability.sweep_actor import Actor, Deed, Scenario, nothing
from tests.durability.sweep_steps import Act, Again, Asks, Pay, Polls, Stage, Sub, Undoes, Waits, child_of


async def _pause(actor: Actor) -> None:
    await actor.do(Deed("pause", "pause"))
    await actor.rest()


async def _stop(actor: Actor) -> None:
    await actor.do(Deed("stop", "stop"))
    await actor.rest()


async def _fence(actor: Actor) -> None:
    await actor.do(Deed("stop", "stop", {"grace": 0}))
    await actor.told("rest", actor.rested())
    Stage.now.gates[actor.name].set()


async def _do_and_rest(actor: Actor) -> None:
    for deed in actor.scenario.deeds:
        await actor.do(deed)
    await actor.rest()


async def _run_until_it_waits(actor: Actor) -> None:
    await actor.begin_to_wait()
    await _close(actor)


async def _run_with_child(actor: Actor) -> None:
    # Asked for first: the child's end may have woken its parent before anyone sees that nothing runs.
    await actor.told("rest", actor.begin_and_look())


async def _begin_child(actor: Actor) -> None:
    actor.handle = await actor.engine.start(actor.name)
    await Stage.now.entered[child_of(actor.name)].wait()
    while actor.engine._steering.control.waiting.get(actor.name) is None:
        await asyncio.sleep(0.001)


async def _stop_with_child(actor: Actor) -> None:
    await _stop(actor)
    await actor.engine.wait(child_of(actor.name))


async def _do(actor: Actor) -> None:
    await actor.do(actor.scenario.deeds[0])


async def _recover(actor: Actor) -> None:
    Stage.now.gates[actor.name].set()
    await actor.told("recover", actor.engine.recover())
    await actor.told("wait", actor.engine.wait(actor.name))


async def _close(actor: Actor) -> None:
    await actor.told("close", actor.engine.close())


async def _close_between(actor: Actor) -> None:
    closing = asyncio.ensure_future(_close(actor))
    await asyncio.sleep(0)
    Stage.now.gates[actor.name].set()
    await closing


async def _begin_all(actor: Actor) -> None:
    """Let each wait for its gate; one has been taken over then, and its runner does not know."""
    everyone = [actor, *actor.mates]
    for each in everyone:
        await each.begin()
    fenced = everyone[len(everyone) // 2].name
    now, by = datetime.now(UTC), By("another")
    await actor.engine._writes.change(fenced, lambda found: taken_over(found.head, now, by, rerun=False))


async def _rest_all(actor: Actor) -> None:
    """Open all gates at once, so that the moves of all are ready together."""
    everyone = [actor, *actor.mates]
    for each in everyone:
        Stage.now.gates[each.name].set()
    for answer in await asyncio.gather(*(each.rest() for each in everyone), return_exceptions=True):
        if answer is not None:
            raise answer


START = {"start": 0}
A, B, C = Act({"a": 1}), Act({"b": 2}), Act({"c": 3})
ALL = {"start": 0, "a": 1, "b": 2, "c": 3}
HELD = (A, Act({"b": 2}, holds=True), C)
SOON = {"shutdown_grace": 0.0}
START_A_C = {"start": 0, "a": 1, "c": 3}
# Its delay makes it wait; who checks lets it be over.
LATER = (A, Act({"b": 2}, fails=1).using(retry=Retry(attempts=2, wait=LONG_DELAY)), C)
ASKS = Asks("Go on?")
IT_WAITS: dict[str, Any] = {"arrive": Actor.begin_to_wait}


def _between(cls: type[Act] = Act, **about: Any) -> tuple[BaseStep, ...]:
    return (A, cls({"b": 2}, **about), C)


def _run_after(deed: Deed, context: dict[str, Any], prepared: str = "error", **about: Any) -> Scenario:
    steps = _between(fails=1) if prepared == "error" else _between()
    return Scenario(steps, Actor.run, context, prepared=prepared, deeds=(deed,), **about)


def _signal(payload: int) -> Deed:
    return Deed("signal", "signal", {"topic": "go", "payload": payload})


def _roll_back(
    steps: tuple[BaseStep, ...], context: dict[str, Any], how: dict[str, Any] | None = None, **about: Any
) -> Scenario:
    deeds = (Deed("rollback", "rollback", how or {}),)
    return Scenario(steps, _do, context, **{"deeds": deeds, "after": "rolled_back", "end": "rolled_back", **about})


def _child(*steps: BaseStep, end: str = "completed") -> Scenario:
    return Scenario(steps, nothing, {"a": 1, "b": 2}, prepared="nothing", end=end)


SCENARIOS: dict[str, Scenario] = {
    "run": Scenario(
        _between(),
        Actor.run,
        ALL,
        prepared="nothing",
        deeds=(Deed("create_workflow", "created", {"context": START, "steps": _between()}),),
    ),
    "checkpoints": Scenario((Act({"a": 1}, saves=2), B), Actor.run, {"start": 0, "a": 1, "b": 2}),
    "fails": Scenario(_between(fails=1), Actor.run, ALL, after="error"),
    "retries": Scenario((A, Act({"b": 2}, fails=2).using(retry=Retry(attempts=3, wait=0.0)), C), Actor.run, ALL),
    "delays": Scenario((A, Act({"b": 2}, fails=1).using(retry=Retry(attempts=2, wait=0.01)), C), Actor.run, ALL),
    "passes": Scenario((A, Act({"b": 2}, fails=99).using(on_error="skip"), C), Actor.run, {"start": 0, "a": 1, "c": 3}),
    "batch": Scenario(HELD[1:], _rest_all, {"start": 0, "b": 2, "c": 3}, arrive=_begin_all, mates=9),
    "pause": Scenario(HELD, _pause, ALL, arrive=Actor.begin, after="paused"),
    "stop": Scenario(HELD, _stop, ALL, arrive=Actor.begin, after="stopped"),
    "fence": Scenario(_between(holds=True, stubborn=True), _fence, ALL, arrive=Actor.begin, after="stopped"),
    "reset": _run_after(Deed("reset", "reset", {"keep_context": True, "context": {"mended": 1}}), {**ALL, "mended": 1}),
    "reset_from": _run_after(
        Deed("reset", "reset_from", {"from_step": 2, "context": {"again": 1}}), {**ALL, "again": 1}, "completed"
    ),
    "skip": _run_after(Deed("skip", "skip", {"context": {"by_hand": 1}}), {"start": 0, "a": 1, "c": 3, "by_hand": 1}),
    "update_context": _run_after(
        Deed("update_context", "update_context", {"values": {"edited": 1}, "unset": ("start",)}),
        {"a": 1, "b": 2, "c": 3, "edited": 1},
        "created",
    ),
    "delete": Scenario(_between(), _do, {}, prepared="completed", deeds=(Deed("delete", "delete"),), after=None),
    "recover": Scenario(HELD, _recover, ALL, prepared="orphan", after="error"),
    "rerun": Scenario(_between(Again, holds=True), _recover, ALL, prepared="orphan"),
    "close": Scenario(HELD, _close, ALL, arrive=Actor.begin, after="error", settings=SOON),
    "close_rerun": Scenario(
        _between(Again, holds=True), _close, ALL, arrive=Actor.begin, after="paused", settings=SOON
    ),
    "pays": Scenario((A, Pay({"b": 2}), Pay({"c": 3})), Actor.run, ALL),
    "pays_not": Scenario((A, Pay({"b": 2}, fails=1), C), Actor.run, ALL, after="error"),
    "pays_again": Scenario((A, Pay({"b": 2}, fails=1).using(retry=Retry(attempts=2, wait=0.0)), C), Actor.run, ALL),
    "pays_later": Scenario((A, Pay({"b": 2}, holds=True), C), _recover, ALL, prepared="orphan"),
    "pays_not_yet": Scenario(
        (A, Pay({"b": 2}, holds=True), C), _close, ALL, arrive=Actor.begin, after="paused", settings=SOON
    ),
    "close_between": Scenario(HELD, _close_between, ALL, arrive=Actor.begin, after="paused"),
    "waits": Scenario((Waits(), Polls(), C), Actor.run, {"start": 0, "looks": 2, "c": 3}),
    "retries_later": Scenario(LATER, _run_until_it_waits, ALL, after="waiting"),
    "takes_up": Scenario(LATER, _recover, ALL, prepared="orphan", leave=Actor.begin_to_wait),
    "signal": Scenario((A, Waits("go"), C), _do_and_rest, {**START_A_C, "go": 1}, deeds=(_signal(1),), **IT_WAITS),
    "signals": Scenario(
        (Waits("go", "first"), Waits("go", "second"), C),
        Actor.run,
        {"start": 0, "c": 3, "first": 1, "second": 2},
        deeds=(_signal(1), _signal(2)),
    ),
    "approve": Scenario((A, ASKS, C), _do_and_rest, START_A_C, deeds=(Deed("approve", "approve"),), **IT_WAITS),
    "reject": Scenario(
        (A, ASKS, C), _do_and_rest, START_A_C, deeds=(Deed("reject", "reject"),), after="error", **IT_WAITS
    ),
    "pause_waiting": Scenario(LATER, _pause, ALL, after="paused", **IT_WAITS),
    "stop_waiting": Scenario(LATER, _stop, ALL, after="stopped", **IT_WAITS),
    "rollback": _roll_back((Undoes({"a": 1}, undo_saves=1), B, Undoes({"c": 3})), ALL, prepared="completed"),
    "undo_fails": _roll_back(
        (Undoes({"a": 1}), Undoes({"b": 2}, undo_fails=2), Undoes({"c": 3}, fails=1)),
        {"start": 0, "a": 1, "b": 2},
        {"include_current": True},
        prepared="error",
        after="error",
    ),
    "child": Scenario((A, Sub("child", [A, B], context={}), C), _run_with_child, START_A_C, child=_child(A, B)),
    "stop_child": Scenario(
        (A, Sub("child", [A, Act({"b": 2}, holds=True)], context={}), C),
        _stop_with_child,
        START_A_C,
        arrive=_begin_child,
        after="stopped",
        child=_child(A, B),
    ),
    "undo_child": _roll_back(
        (Undoes({"a": 1}), Sub("child", [Undoes({"a": 1}), Undoes({"b": 2})], context={}), C),
        START_A_C,
        prepared="completed",
        child=_child(Undoes({"a": 1}), Undoes({"b": 2}), end="rolled_back"),
    ),
}
