"""One step, run by itself: no engine, no database."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from typing import Any, Literal, NoReturn, cast

from awfe.domain import step as steps
from awfe.domain.context import Context, StepInfo
from awfe.domain.delta import Delta, too_large
from awfe.domain.encoded import Encoded
from awfe.domain.events import changes_of
from awfe.domain.moves import Head
from awfe.domain.outcomes import Ending
from awfe.domain.records import Changes
from awfe.domain.states import StepState, WorkflowState
from awfe.domain.step import BaseStep, StepLike, TransactionalStep
from awfe.domain.values import decode
from awfe.domain.waits import Waiting, Woken
from awfe.errors import InvalidInput
from awfe.execution.attempt import Attempt, Work
from awfe.execution.crew import Crew
from awfe.execution.line import Line
from awfe.execution.secrets import Secrets
from awfe.execution.transactional import no_checkpoint
from awfe.settings import Settings


@dataclass(frozen=True, slots=True)
class StepRun:
    """What one attempt of a step left behind.

    `context`: as the next step would see it. `changes`: what it changed in all, checkpoints included. `output`: all
    that it printed. `waits`: the `Sleep`, `Until`, `Again` or `WaitFor` that `work` returned, else None. `checkpoints`:
    the change that each of them saved.
    """

    context: dict[str, Any]
    changes: Changes
    output: str
    waits: Waiting | None
    checkpoints: tuple[Changes, ...]


async def run_step(
    step: StepLike,
    context: Mapping[str, Any] | None = None,
    *,
    undo: bool = False,
    attempt: int = 1,
    woken: Literal["due", "signal"] | None = None,
    session: Any = None,
    secrets: Mapping[str, str] | None = None,
) -> StepRun:
    """Run a step's `work` once, or its `undo`, in the way in which an engine would do it, but without one.

    The step is saved and made again, its `timeout` holds, `on_error` and `retry` don't; what it raises is raised.
    `woken` is why it is called once more after `Again`. `session` is what a `TransactionalStep` gets, and stays open.
    `secrets` has the texts of secrets by name; without it they are read from the environment. A workflow of its own is
    refused. Raises `InvalidInput` or `ContextError` too, as `create_workflow` and a run would.
    """
    bench = _Bench({} if context is None else context, secrets)
    made = steps.save(1, step).load()
    if undo and not steps.can_undo(made):
        msg = f"{type(made).__qualname__} has no 'async def undo(self, ctx)'"
        raise InvalidInput(msg)
    return await bench.run(made, undo=undo, attempt=attempt, woken=woken, session=session)


class _Bench:
    """What stands around an attempt when there is no engine."""

    def __init__(self, context: Mapping[str, Any], secrets: Mapping[str, str] | None) -> None:
        self._committed = Encoded(Delta.of(context).encoded)
        self._printed: list[str] = []
        self._checkpoints: list[Delta] = []
        self._settings = Settings.of(None, {})
        nothing: Any = None  # no attempt of a single step comes to where these are wanted
        self._crew = Crew(
            owner="run_step",
            settings=self._settings,
            reads=nothing,
            writes=nothing,
            entries=nothing,
            waits=nothing,
            transaction=nothing,
            line=Line(1),
            log=logging.getLogger("awfe"),
            clock=lambda: datetime.now(UTC),
            write_output=self._printed.append,
            secrets=Secrets(None if secrets is None else secrets.get),
        )
        self._crew.join(nothing, nothing, "run_step", self._settings.max_context_bytes)
        self._crew.family = _NoFamily()

    async def run(self, step: BaseStep, *, undo: bool, attempt: int, woken: Woken | None, session: Any) -> StepRun:
        work = None
        if isinstance(step, TransactionalStep) and step.is_transactional and not undo:
            work = _work_with(session)
        head = Head(
            id=1,
            name="test",
            step_count=1,
            state=WorkflowState.RUNNING,
            position=1,
            step_state=StepState.RUNNING,
            attempt=attempt,
            created_at=self._crew.clock(),
        )
        checkpoint = no_checkpoint if work else self._checkpoint
        made = Attempt(self._crew, head, step, 0, checkpoint, work=work, undo=undo, woken=woken)
        outcome = await made.run(self._committed, steps.policies_of(step).timeout, self._settings.stop_grace)
        if outcome.ending not in (Ending.COMPLETED, Ending.WAITING):
            assert made.error is not None  # noqa: S101 - what has not come to its end was ended by something
            raise made.error
        outcome.delta.apply(self._committed)
        return StepRun(
            context={key: decode(value) for key, value in self._committed.items()},
            changes=changes_of(reduce(Delta.then, [*self._checkpoints, outcome.delta])),
            output="".join(self._printed),
            waits=cast("Waiting | None", outcome.waiting),
            checkpoints=tuple(map(changes_of, self._checkpoints)),
        )

    async def _checkpoint(self, ctx: Context) -> None:
        delta = ctx.collect()
        if ctx.size > self._crew.max_context_bytes:
            raise too_large(ctx.size, self._crew.max_context_bytes)
        ctx.commit(delta)
        delta.apply(self._committed)
        self._checkpoints.append(delta)


class _NoFamily:
    """Refuses workflows of a step's own."""

    async def raise_child(
        self, _parent: Head, _info: StepInfo, name: str, _context: Mapping[str, Any], _steps: Sequence[Any]
    ) -> NoReturn:
        raise _needs_engine(name)

    async def undo_child(self, _parent: Head, _info: StepInfo, name: str) -> NoReturn:
        raise _needs_engine(name)


def _needs_engine(name: str) -> InvalidInput:
    return InvalidInput(f"{name!r}: a workflow of its own needs an engine, and run_step has none; run it in one")


def _work_with(session: Any) -> Work:
    if session is None:
        msg = "a transactional step needs a session: run_step(step, context, session=…), an AsyncSession"
        raise InvalidInput(msg)

    async def work(step: BaseStep, ctx: Context) -> object:
        assert isinstance(step, TransactionalStep)  # noqa: S101 - only these are given a session
        return await step.work(ctx, session)  # type: ignore[func-returns-value]  # checked by the attempt

    return work
