"""One attempt of one step: its task, what cuts it short, and the outcome. The only place that awaits user code."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import IntEnum
from functools import cached_property
from hashlib import blake2b
from typing import Any

from anyio.lowlevel import checkpoint_if_cancelled

from awfe.domain.context import Context, StepInfo
from awfe.domain.delta import NO_CHANGE, Delta, too_large
from awfe.domain.encoded import Encoded
from awfe.domain.moves import Head
from awfe.domain.outcomes import Ending, ErrorInfo, Outcome
from awfe.domain.records import Workflow
from awfe.domain.secret import Revealed, Secret
from awfe.domain.services import Log
from awfe.domain.step import BaseStep, called, face_for
from awfe.domain.waits import WAITING, Waiting, Woken
from awfe.errors import ContextError, InvalidInput
from awfe.execution import endings
from awfe.execution.body import Body
from awfe.execution.crew import Crew
from awfe.execution.output import Tail
from awfe.execution.secrets import Keyring, Secrets
from awfe.shielding import over

Work = Callable[[BaseStep, Context], Awaitable[object]]


class Cut(IntEnum):
    """Why an attempt is asked to end before its time; the greater wins."""

    NONE = 0
    TIMEOUT = 1
    SHUTDOWN = 2
    STOP = 3
    FENCED = 4


class Attempt:
    """One attempt of one step, in a task of its own.

    To cut it short its body is cancelled once: a step may clean up in `finally`, with awaits. One that has not ended
    when its grace is over is left alone, and the outcome says that it is alive. The last grace that was given counts.
    """

    def __init__(
        self,
        crew: Crew,
        head: Head,
        step: BaseStep,
        line: int,
        checkpoint: Callable[[Context], Awaitable[None]],
        *,
        work: Work | None = None,
        undo: bool = False,
        woken: Woken | None = None,
    ) -> None:
        """Prepare an attempt; nothing runs yet. `line` is the revision of the reset that began the step anew, or 0.

        `work` is done in place of the step's own.
        """
        # The same for all attempts of the step, and for no other step of any workflow.
        about = f"{crew.instance}:{head.id}:{head.position}:{line}"
        key = blake2b(about.encode(), digest_size=16).hexdigest()
        info = StepInfo(head.at, called(step), head.attempt, key, woken)
        self._crew = crew
        self._head = head
        self._undo = undo
        self._waiting: Waiting | None = None
        self._step = step
        self._do = work
        self.name = f"step {info.position} ({info.name}) of {head.name!r}"
        self._keyring = Keyring(crew.secrets)
        self._checkpoint = checkpoint
        self._info = info
        self._workflow = head.name
        self._tail = Tail(crew.settings.max_output_bytes)
        self._loop = asyncio.get_running_loop()
        self._is_over = False
        self._waiter: asyncio.Future[None] | None = None
        self._timeout_timer: asyncio.TimerHandle | None = None
        self._grace_timer: asyncio.TimerHandle | None = None
        self._cut = Cut.NONE
        self.error: BaseException | None = None
        self.described: ErrorInfo | None = None
        self.timed_out = False
        self.task: asyncio.Task[BaseException | None] | None = None
        self._body: Body | None = None

    @cached_property
    def log(self) -> Log:
        """The logger of the step."""
        info = self._info
        about = {"workflow": self._workflow, "step": info.name, "position": info.position, "attempt": info.attempt}
        return _StepLog(self._crew.log, about, self._crew.secrets)

    @property
    def stop_requested(self) -> bool:
        """Whether the step is asked to end."""
        return self._cut is not Cut.NONE

    @property
    def alive(self) -> bool:
        """Whether its body still runs."""
        return self.task is not None and not self.task.done()

    async def ended(self) -> None:
        """Return when its body, which is alive, has ended."""
        assert self.task is not None  # noqa: S101 - it is alive
        await over(self.task)

    @property
    def fenced(self) -> bool:
        """Whether another runner has taken over."""
        return self._cut is Cut.FENCED

    def output(self, text: str) -> None:
        """Pass a text on, and keep the tail."""
        self._print(self._keyring.passed(text))

    def _print(self, text: str) -> None:
        if text:
            self._tail.add(text)
            self._crew.write_output(text)

    def secret(self, secret: Secret) -> Revealed:
        """Return the text of a secret; raises `ConfigError`."""
        return self._keyring.secret(secret)

    def inspect(self, delta: Delta) -> None:
        """Refuse a change that holds the text of a secret."""
        self._keyring.refuse_texts(delta)

    async def child(self, name: str, context: Mapping[str, Any], steps: Sequence[Any]) -> Workflow:
        """Begin a workflow of the step's own, or find it."""
        return await self._crew.family.raise_child(self._head, self._info, name, context, steps)

    async def undo_child(self, name: str) -> None:
        """Roll such a workflow back."""
        await self._crew.family.undo_child(self._head, self._info, name)

    async def checkpoint(self, ctx: Context) -> None:
        """Save what the step has changed so far; a step that does nothing else can be cut off here, too."""
        await self._checkpoint(ctx)
        await checkpoint_if_cancelled()

    def cut(self, why: Cut, grace: float, *, told: bool = False) -> None:
        """Ask the step to end within its grace; `told`: it has been cancelled already."""
        if self._is_over:
            return
        if self._cut is Cut.NONE and self._body is not None and not told:
            self._body.cancel()
        self._cut = max(self._cut, why)
        if self._grace_timer is not None:
            self._grace_timer.cancel()
        self._grace_timer = self._loop.call_later(grace, self._end)

    async def run(self, committed: Encoded, timeout: float | None, grace: float) -> Outcome:  # noqa: ASYNC109 - the timeout is the step's policy; what happens then is decided here
        """Run the step to its end, or until its grace is over."""
        ctx = Context.attached(committed, self, face_for(self._step), workflow=self._workflow, step=self._info)
        if timeout is not None:
            self._timeout_timer = self._loop.call_later(timeout, self.cut, Cut.TIMEOUT, grace)
        if self._cut is Cut.NONE:
            self._body = Body(self._work(ctx, committed), f"awfe {self.name}", self._blocked, self._end)
            self.task = self._body.task
            while not self._is_over:
                # A cancellation of the run cancels what it awaits: so that is a future of its own each time.
                self._waiter = self._loop.create_future()
                try:
                    await self._waiter
                except asyncio.CancelledError:
                    # The loop is going down, and cancels all tasks: that is a stop, and its state is saved.
                    self.cut(Cut.STOP, grace, told=self.task.cancelling() > 0)
            self._body.leave_alone()
            if not self.alive:
                self._body = None
        for timer in (self._timeout_timer, self._grace_timer):
            if timer is not None:
                timer.cancel()
        return self._outcome(ctx, timeout)

    def _end(self) -> None:
        self._is_over = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _work(self, ctx: Context, committed: Encoded) -> None:
        step = await self._keyring.open_for(self._step, committed)
        ctx.settle()
        if self._undo:
            undone: object = await step.undo(ctx)  # type: ignore[func-returns-value]  # checked here
            if undone is not None:
                msg = f"undo returned {undone!r:.100}; return None: an undo can't wait"
                raise InvalidInput(msg)
            return
        for hook in self._crew.before_step:
            await hook(ctx)
        result: object = await (step.work(ctx) if self._do is None else self._do(step, ctx))
        if isinstance(result, WAITING):
            if self._do is not None:
                msg = "a transactional step can't wait, since its transaction would; let the next step do that"
                raise InvalidInput(msg)
            self._waiting = result
        elif result is not None:
            msg = f"work returned {result!r:.100}; return None, or what the step waits for: put results into ctx"
            raise InvalidInput(msg)
        ctx.settle()
        for hook in self._crew.after_step:
            await hook(ctx)

    def _blocked(self, seconds: float) -> None:
        self._crew.log.warning(
            "%s blocked the event loop for %.1f s: await, or use asyncio.to_thread", self.name, seconds
        )

    def _outcome(self, ctx: Context, timeout: float | None) -> Outcome:
        alive = self.alive
        error = self._raised()
        delta = NO_CHANGE
        if not alive:
            delta, refused = self._collected(ctx)
            error = error or refused
        self.timed_out = self._cut is Cut.TIMEOUT and error is not None
        if self.timed_out:
            cause = error
            error = endings.overtime(timeout)
            error.__cause__ = cause
        self._print(self._keyring.passed("", last=True))
        self.error = None if error is None else self._crew.secrets.hide(error)
        self.described = self._description(self.error)
        begun = self.task is not None and not (self.task.done() and self.task.cancelled())
        ending = self._ending(error)
        waiting = self._waiting if ending is Ending.WAITING else None
        return Outcome(ending, delta, self._tail.text(), self.described, alive, begun, waiting)

    def _raised(self) -> BaseException | None:
        task = self.task
        if task is None or not task.done() or task.cancelled():
            # Not begun, not ended, or cancelled before its first line: it was cut off.
            return asyncio.CancelledError()
        return task.result()

    def _ending(self, error: BaseException | None) -> Ending:
        if error is None:
            return Ending.COMPLETED if self._waiting is None else Ending.WAITING
        if self._cut is Cut.SHUTDOWN:
            return Ending.INTERRUPTED
        if self._cut >= Cut.STOP or isinstance(error, KeyboardInterrupt):
            return Ending.STOPPED
        return Ending.FAILED

    def _description(self, error: BaseException | None) -> ErrorInfo | None:
        expected = isinstance(error, asyncio.CancelledError) and self._cut is not Cut.NONE
        return None if error is None or expected else self._crew.secrets.described(error)

    def _collected(self, ctx: Context) -> tuple[Delta, ContextError | None]:
        try:
            delta = ctx.collect()
        except ContextError as error:
            return NO_CHANGE, error
        limit = self._crew.max_context_bytes
        return (delta, None) if ctx.size <= limit else (NO_CHANGE, too_large(ctx.size, limit))


class _StepLog(logging.LoggerAdapter[Any]):
    """Names the workflow and the step before each message, and in its `extra`; masks secrets."""

    def __init__(self, log: Any, about: dict[str, Any], secrets: Secrets) -> None:
        super().__init__(log, about)
        self._secrets = secrets

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if self.isEnabledFor(level):
            msg, args = self._secrets.hide_logged(msg, args, kwargs)
            kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
            super().log(level, msg, *args, **kwargs)

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        about = self.extra or {}
        kwargs["extra"] = {**about, **kwargs.get("extra", {})}
        return f"{about['workflow']}[{about['position']} {about['step']}]: {msg}", kwargs
