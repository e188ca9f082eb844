"""What a verb would do: decided by the code that does it, on what is read, and nothing is written."""

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from msgspec import structs

from awfe import checks
from awfe.domain import foresight, takeover, verbs, waiting
from awfe.domain.delta import NO_CHANGE
from awfe.domain.foresight import Forecast, Seen
from awfe.domain.moves import By, Move
from awfe.domain.outcomes import ErrorInfo
from awfe.domain.records import Plan
from awfe.domain.states import ACTIVE, Answer, Verb, WorkflowState
from awfe.domain.step import BaseStep, StepSpec
from awfe.errors import InvalidInput, WorkflowCorrupt, WorkflowError, WorkflowNotFound
from awfe.execution import course, intents, signals
from awfe.execution.crew import Crew
from awfe.execution.intents import Intent
from awfe.execution.recovery import Recovery, declared_rerun
from awfe.execution.steering import Steering
from awfe.persistence import specs
from awfe.persistence.codec import Understanding
from awfe.persistence.glance import glance
from awfe.persistence.session import Database
from awfe.persistence.writes import Found, check_room

# What these do they do whether or not a runner lives, so they don't ask.
_UNSETTLED: Final = ("signal", "approve", "reject")
# These need no more of a workflow than its head; what else can't be understood does not keep them from being done.
_BY_HEAD: Final = ("delete", "pause", "stop", "signal", "approve")


class Planner:
    """Plans what the verbs of one engine would do."""

    def __init__(self, crew: Crew, database: Database, steering: Steering) -> None:
        """Plan for this engine."""
        self._crew = crew
        self._database = database
        self._steering = steering
        self._recovery = Recovery(crew)
        self._verbs: dict[str, Callable[..., Forecast]] = {
            "run": self._run,
            "resume": self._run,
            "start": self._run,
            "pause": self._pause,
            "stop": self._stop,
            "reset": self._reset,
            "restart": self._restart,
            "skip": self._skip,
            "update_context": self._update_context,
            "rollback": self._rollback,
            "signal": self._signal,
            "approve": self._approve,
            "reject": self._reject,
            "delete": self._delete,
        }

    async def plan(self, name: str, verb: str, arguments: Mapping[str, Any]) -> Plan:
        """Return what a verb would do with these arguments, or why not."""
        decide, arguments = self._bound(verb, arguments)
        try:
            seen = now = await self._look(name, whole=verb not in _BY_HEAD)
        except WorkflowCorrupt:
            if verb == "delete" and await self._recovery.is_gone(await self._crew.reads.remains(name)):
                return Plan(name, verb, None, None, allowed=True)
            raise
        try:
            by = checks.by(arguments.pop("actor", None), arguments.pop("reason", arguments.pop("comment", None)))
            if verb not in _UNSETTLED and self._steering.control.get(name) is None:
                # The log of one that is brought to rest tells whether its step may be repeated.
                seen, now = await self._settled(seen, whole=verb != "delete")
            forecast = decide(now, by, **arguments)
        except (WorkflowNotFound, WorkflowCorrupt):
            raise
        except (WorkflowError, InvalidInput) as error:
            with Understanding(name, "its context"):
                return foresight.refused(verb, seen, error)
        with Understanding(name, "its context"):
            return foresight.plan(verb, seen, forecast)

    def _bound(self, verb: str, arguments: Mapping[str, Any]) -> tuple[Callable[..., Forecast], dict[str, Any]]:
        """Return what plans a verb; raises `InvalidInput` for what it does not take."""
        decide = self._verbs.get(str(verb))
        if decide is None:
            msg = f"verb={verb!r:.60}: give one of {', '.join(self._verbs)}"
            raise InvalidInput(msg)
        own = {"actor", "comment" if verb in ("approve", "reject") else "reason"}
        try:
            inspect.signature(decide).bind(None, None, **{k: v for k, v in arguments.items() if k not in own})
        except TypeError as error:
            msg = f"{verb}: {error}"
            raise InvalidInput(msg) from None
        return decide, dict(arguments)

    async def _look(self, name: str, *, whole: bool) -> Seen:
        await self._steering.leaving(name)
        await self._steering.begun(name)
        return await self._read(name, whole=whole)

    async def _read(self, name: str, *, whole: bool) -> Seen:
        try:
            return await glance(self._database, name)
        except WorkflowCorrupt:
            if whole:
                raise
            return Seen(await self._crew.reads.head(name), (), ())

    async def _settled(self, seen: Seen, *, whole: bool) -> tuple[Seen, Seen]:
        """Return a workflow as it is, and as it would be brought to rest first when its runner is gone."""
        if seen.head.owner is None or await self._recovery.is_alive(seen.head):
            return seen, seen
        await asyncio.sleep(self._crew.settings.takeover_delay)
        now = await self._read(seen.head.name, whole=whole)
        if not await self._recovery.still_gone(seen.head, now.head):
            return now, now
        return now, now.after(self._laid_to_rest(now))

    def _laid_to_rest(self, seen: Seen) -> Move:
        head = seen.head
        if head.state not in ACTIVE:
            return takeover.body_ended(head, self._crew.clock())
        rerun = _is_understood(seen) and declared_rerun(seen.specs[head.at - 1])
        return self._recovery.taken_over(head, seen.progress, rerun=rerun)

    # --- each takes what the verb takes, and raises what it would

    def _run(self, seen: Seen, _by: By) -> Forecast:
        _understand(seen)
        if self._steering.attached(seen.head.name) is None:
            course.forward(seen.head, seen.specs)
        return Forecast(seen, WorkflowState.COMPLETED)

    def _rollback(self, seen: Seen, _by: By, *, include_current: bool = False, skip_undo: bool = False) -> Forecast:
        checks.flag("include_current", include_current)
        checks.flag("skip_undo", skip_undo)
        _understand(seen)
        self._steering.refuse_running(seen.head.name, Verb.ROLLBACK)
        back = course.back(seen.head, seen.specs, current=include_current, skip=skip_undo)
        undone = tuple(back.path(seen.head, seen.progress))
        nowhere = structs.replace(seen.head, undoing=True)
        return Forecast(replace(seen, head=nowhere), WorkflowState.ROLLED_BACK, undone)

    def _pause(self, seen: Seen, by: By) -> Forecast:
        return self._halt(seen, by, Verb.PAUSE, WorkflowState.PAUSED)

    def _stop(self, seen: Seen, by: By, grace: float | None = None) -> Forecast:
        checks.seconds("grace", grace)
        return self._halt(seen, by, Verb.STOP, WorkflowState.STOPPED)

    def _halt(self, seen: Seen, by: By, verb: Verb, state: WorkflowState) -> Forecast:
        head, run = seen.head, self._steering.control.get(seen.head.name)
        answer = verbs.halting(head, verb, in_line=run is not None and run.in_line)
        if answer is Answer.HALTS:
            halt = waiting.wait_stopped if verb is Verb.STOP else waiting.wait_paused
            return Forecast(seen.after(halt(head, self._crew.clock(), by)), state)
        undone = _left_to_undo(seen)
        if head.state not in ACTIVE:
            state = head.state
        elif verb is Verb.PAUSE and head.at == (undone[-1] if undone else head.step_count):
            # No step is left to pause before.
            state = WorkflowState.ROLLED_BACK if head.undoing else WorkflowState.COMPLETED
        return Forecast(seen, state, undone)

    def _change(self, seen: Seen, by: By, intent: Intent) -> Forecast:
        unsaved = (seen.unsaved and seen.unsaved.delta) or NO_CHANGE
        found = Found(seen.head, seen.progress, unsaved if intent.takes_unsaved else NO_CHANGE)
        move = intent.make(found, by, self._crew.clock())
        check_room(move, seen.progress, self._crew.max_context_bytes)
        after = seen.after(move)
        taken = {*unsaved.set, *unsaved.unset} - seen.progress.edited if intent.takes_unsaved else ()
        return Forecast(after, after.head.state, taken=taken)

    def _reset(
        self,
        seen: Seen,
        by: By,
        from_step: int | None = None,
        *,
        keep_context: bool = False,
        context: Mapping[str, Any] | None = None,
    ) -> Forecast:
        return self._change(seen, by, intents.reset(from_step, keep_context=keep_context, context=context))

    def _restart(
        self,
        seen: Seen,
        by: By,
        from_step: int | None = None,
        *,
        keep_context: bool = False,
        context: Mapping[str, Any] | None = None,
    ) -> Forecast:
        reset = self._reset(seen, by, from_step, keep_context=keep_context, context=context)
        return replace(reset, leads_to=self._run(reset.after, by).leads_to)

    def _skip(self, seen: Seen, by: By, *, context: Mapping[str, Any] | None = None) -> Forecast:
        return replace(self._change(seen, by, intents.skip(context=context)), skipped=seen.head.position)

    def _update_context(self, seen: Seen, by: By, values: Mapping[str, Any], unset: Iterable[str] = ()) -> Forecast:
        return self._change(seen, by, intents.update_context(values, unset))

    def _signal(self, seen: Seen, _by: By, topic: str, payload: Any = None) -> Forecast:
        signals.checked(topic, payload, self._crew.max_context_bytes)
        verbs.check(seen.head, Verb.SIGNAL)
        return self._same(seen)

    def _approve(self, seen: Seen, by: By) -> Forecast:
        signals.asked(seen.head, by)
        return self._same(seen)

    def _reject(self, seen: Seen, by: By) -> Forecast:
        signals.asked(seen.head, by)
        move = waiting.rejected(seen.head, self._crew.clock(), by, ErrorInfo("Rejected", ""))
        return Forecast(seen.after(move), WorkflowState.ERROR)

    def _same(self, seen: Seen) -> Forecast:
        return Forecast(seen, seen.head.state, _left_to_undo(seen))

    def _delete(self, seen: Seen, _by: By) -> Forecast:
        verbs.check(seen.head, Verb.DELETE)
        return Forecast(seen, None, gone=True)


def _left_to_undo(seen: Seen) -> tuple[int, ...]:
    """Return what a rollback would undo that is halfway."""
    if not seen.head.undoing or seen.head.position is None or not _is_understood(seen):
        return ()
    return tuple(course.Back([_made(spec) for spec in seen.specs], seen.head.rev).path(seen.head, seen.progress))


def _made(spec: StepSpec) -> BaseStep:
    """Make a saved step again; one that can't be has no `undo` here."""
    try:
        return spec.load()
    except (LookupError, InvalidInput):
        return BaseStep()


def _understand(seen: Seen) -> None:
    """Raise `WorkflowCorrupt` where the steps can't be made again for what is saved of them."""
    for spec in seen.specs:
        specs.policies_of(seen.head.name, spec)


def _is_understood(seen: Seen) -> bool:
    try:
        _understand(seen)
    except WorkflowCorrupt:
        return False
    return len(seen.specs) == seen.head.step_count
