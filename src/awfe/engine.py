"""The engine: what a program creates, runs, steers and reads workflows with."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from awfe import checks
from awfe.domain import step
from awfe.domain.delta import Delta
from awfe.domain.moves import By, Move
from awfe.domain.records import Purged, Recovered, Workflow
from awfe.domain.states import ENDED, Verb, WorkflowState
from awfe.domain.step import StepLike
from awfe.domain.waits import moment
from awfe.evolving import Evolving
from awfe.execution import intents
from awfe.execution.handle import Handle, Verbs
from awfe.execution.intents import Intent
from awfe.execution.result import Result
from awfe.persistence.purging import Old
from awfe.persistence.writes import Found


class Engine(Evolving):
    """Creates, runs, steers and reads workflows in one database.

    `db` is a URL, the gem's mapping (`adapter`, `host`, …), or a SQLAlchemy `AsyncEngine`, of which awfe only takes the
    way to connect. `redirect`, a function of one string or an object with `write`, gets what steps print. `secrets`, a
    function of a name, async or not, knows the text of each `Secret`; by default the environment has them. Settings
    are keywords, or a `Settings`, or `AWFE_…` in the environment. Raises `ConfigError`. Use it as `async with`, or call
    `open()` and `close()`, from any task of one loop. Every verb raises `EngineNotOpen` when it is not open,
    `StoreUnavailable` when the database does not answer, `WorkflowNotFound`, and `WorkflowCorrupt` for one whose rows
    can't be. Verbs that change something take `actor` and `reason`, which stay in the history.
    """

    # --- verbs that run

    async def create_workflow(
        self,
        name: str,
        context: Mapping[str, Any] | None = None,
        steps: Iterable[StepLike] = (),
        *,
        at: datetime | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> Workflow:
        """Save a new workflow, whole or not at all. Raises `InvalidInput`, `ContextError` or `WorkflowExists`.

        `name`: 1 to 200 characters without control characters, compared by code points. `at`, a time with its zone, is
        when `recover()` starts it; `run` does so before that, too.
        """
        with self._gate:
            checks.name(name)
            if at is not None:
                moment("at", at)
            delta = Delta.of({} if context is None else context)
            specs = [step.save(position, each) for position, each in enumerate(checks.steps(steps), 1)]
            step.check_context(specs[0], delta)
            self._warn_of_main({spec.impl for spec in specs if spec.impl.startswith("__main__:")})
            await self._crew.entries.create(name, delta, specs, checks.by(actor, reason), self._crew.clock(), at=at)
            return await self._reads.workflow(name)

    async def run(self, name: str, *, actor: str | None = None, reason: str | None = None) -> Workflow:
        """Run a workflow, or go on with it, and return it when it is completed; cancelling the caller stops it.

        Raises `StepError`, `WorkflowPaused`, `WorkflowStopped`, `WorkflowLocked`, `ErrorState`, `StepNotFound` or
        `LockLost`.
        """
        with self._verb(name):
            result = await self._steering.start(name, checks.by(actor, reason))
            if result is not None:
                await self._steering.outlast(name, result)
            return await self._reads.workflow(name)

    async def start(self, name: str, *, actor: str | None = None, reason: str | None = None) -> Handle:
        """Run a workflow in the background; `await handle` gives and raises what `run` would.

        Raises at the call what can be known then: `WorkflowLocked`, `ErrorState`, `StepNotFound`.
        """
        with self._verb(name):
            result = await self._steering.start(name, checks.by(actor, reason))
            return Handle(name, result, self._handle_verbs)

    @cached_property
    def _handle_verbs(self) -> Verbs:
        return Verbs(self._follow, self.pause, self.stop)

    async def _follow(self, name: str, result: Result | None) -> Workflow:
        """Give what a run in the background came to; a close waits for it, and tells its error even afterwards."""
        if result is not None and not self._gate.is_open:
            await asyncio.shield(result.future)
        with self._gate:
            if result is not None:
                await asyncio.shield(result.future)
            return await self._reads.workflow(name)

    async def rollback(
        self,
        name: str,
        *,
        include_current: bool = False,
        skip_undo: bool = False,
        actor: str | None = None,
        reason: str | None = None,
    ) -> Workflow:
        """Undo the completed steps, the last first, and return the workflow when it is rolled back.

        Steps without an `undo` and skipped ones are passed over; the step that failed is undone only with
        `include_current`. A rollback that was halted or has failed goes on where it was, or with `skip_undo` after the
        undo at which it was. Cancelling the caller stops it. Raises `StepError`, `WorkflowPaused`, `WorkflowStopped`,
        `WorkflowLocked`, `InvalidState` or `StepNotFound`.
        """
        checks.flag("include_current", include_current)
        checks.flag("skip_undo", skip_undo)
        with self._verb(name):
            by = checks.by(actor, reason)
            result = await self._steering.roll_back(name, by, current=include_current, skip=skip_undo)
            await self._steering.outlast(name, result)
            return await self._reads.workflow(name)

    async def wait(self, name: str, timeout: float | None = None) -> Workflow:  # noqa: ASYNC109 - the contract's name
        """Return a workflow as soon as it neither runs nor stands in line here; raises `TimeoutError`."""
        with self._verb(name):
            checks.seconds("timeout", timeout)
            async with asyncio.timeout(timeout):
                await self._steering.wait(name)
            return await self._reads.workflow(name)

    async def recover(self, *, actor: str | None = None, reason: str | None = None) -> Recovered:
        """Take up, once, workflows whose runner is gone and those that a closing engine paused; any engine may.

        They run in the background. A step that may not be rerun leaves its workflow in `error`, one that can't be made
        leaves it as it is: these are `refused`. Where nobody is named, the history names this engine.
        """
        with self._gate:
            return await self._steering.recover(checks.by(actor, reason))

    # --- verbs that steer

    async def pause(self, name: str, *, actor: str | None = None, reason: str | None = None) -> None:
        """Pause after the current step; returns when the request is stored. Raises `InvalidState`."""
        with self._verb(name):
            await self._steering.halt(name, Verb.PAUSE, checks.by(actor, reason))

    async def stop(
        self, name: str, grace: float | None = None, *, actor: str | None = None, reason: str | None = None
    ) -> None:
        """Stop now: the step is cancelled, and has `grace` seconds (`stop_grace`) to end. Raises `InvalidState`."""
        with self._verb(name):
            checks.seconds("grace", grace)
            await self._steering.halt(name, Verb.STOP, checks.by(actor, reason), grace)

    async def reset(
        self,
        name: str,
        from_step: int | None = None,
        *,
        keep_context: bool = False,
        context: Mapping[str, Any] | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> Workflow:
        """Make the failed, stopped or interrupted step pending again, or all steps from `from_step` on.

        Uncommitted changes of the step are dropped, or with `keep_context` taken over; from a step on, all that it and
        later ones changed is dropped, and what operators did since it began. `context` sets values; those given with
        `from_step` are of the context before that step. Raises `InvalidState`, `WorkflowLocked` or `InvalidInput`.
        """
        intent = intents.reset(from_step, keep_context=keep_context, context=context)
        return await self._change(name, intent, checks.by(actor, reason))

    async def restart(
        self,
        name: str,
        from_step: int | None = None,
        *,
        keep_context: bool = False,
        context: Mapping[str, Any] | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> Workflow:
        """Reset, then run: takes what `reset` takes, returns and raises what `run` does.

        Nothing is reset where a step is missing, which `run` would not find.
        """
        intent = intents.reset(from_step, keep_context=keep_context, context=context)
        with self._verb(name):
            await self._steering.expect_steps(name, Verb.RESET if from_step is None else Verb.RESET_FROM)
        await self._change(name, intent, checks.by(actor, reason))
        return await self.run(name, actor=actor, reason=reason)

    async def skip(
        self,
        name: str,
        *,
        context: Mapping[str, Any] | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> Workflow:
        """Pass over the current step, with `context` as what it changed. Raises `InvalidState` or `WorkflowLocked`."""
        return await self._change(name, intents.skip(context=context), checks.by(actor, reason))

    async def update_context(
        self,
        name: str,
        values: Mapping[str, Any],
        unset: Iterable[str] = (),
        *,
        actor: str | None = None,
        reason: str | None = None,
    ) -> Workflow:
        """Set and remove keys of the context. Raises `ContextError`, `InvalidState` or `WorkflowLocked`."""
        return await self._change(name, intents.update_context(values, unset), checks.by(actor, reason))

    async def signal(
        self, name: str, topic: str, payload: Any = None, *, actor: str | None = None, reason: str | None = None
    ) -> None:
        """Send a signal; the step that waits for its topic, now or later, takes it once. Returns when it is stored.

        `payload` is a JSON value. Raises `InvalidInput`, `ContextError` or `InvalidState`.
        """
        with self._verb(name):
            await self._signals.send(name, topic, payload, checks.by(actor, reason))

    async def approve(self, name: str, *, actor: str | None = None, comment: str | None = None) -> None:
        """Approve what a workflow's step asks for. Raises `InvalidState` where none asks `actor`."""
        with self._verb(name):
            await self._signals.approve(name, checks.by(actor, comment))

    async def reject(self, name: str, *, actor: str | None = None, comment: str | None = None) -> Workflow:
        """Reject what a workflow's step asks for: it fails. Raises `InvalidState` where none asks `actor`."""
        with self._verb(name):
            await self._signals.reject(name, checks.by(actor, comment))
            return await self._reads.workflow(name)

    async def delete(self, name: str, *, actor: str | None = None, reason: str | None = None) -> None:
        """Remove a workflow and leave a tombstone. Raises `InvalidState` or `WorkflowLocked`.

        One that can't be understood is removed too, where nobody runs it.
        """
        with self._verb(name):
            await self._steering.delete(name, checks.by(actor, reason))

    async def purge(
        self,
        older_than: float | timedelta,
        states: Iterable[WorkflowState | str] = ENDED,
        *,
        actor: str | None = None,
        reason: str | None = None,
    ) -> Purged:
        """Delete the workflows that have been in one of these states for longer; each leaves a tombstone.

        `older_than` is in seconds, or a `timedelta`; `states` may be any in which `delete` is allowed, those of
        workflows that have ended by default. The workflows that steps have begun go with theirs, and not without it;
        where one of these still runs or waits, all stay and are `refused`. It is done in batches: one that is cut off
        has done a part. Raises `InvalidInput`.
        """
        age, chosen, by = checks.age("older_than", older_than), checks.deletable(states), checks.by(actor, reason)
        with self._gate:
            now = self._crew.clock()
            return await self._purging.purge(Old(chosen, now - age), by, now)

    async def _change(self, name: str, intent: Intent, by: By) -> Workflow:
        def make(found: Found) -> Move:
            return intent.make(found, by, self._crew.clock())

        with self._verb(name):
            # What could not be read back afterwards is refused before anything is changed.
            await self._reads.workflow(name)
            await self._steering.change(name, make, with_unsaved=intent.takes_unsaved)
            return await self._reads.workflow(name)
