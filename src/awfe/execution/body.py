"""The code of a step: in a task of its own, cancelled through a scope, once, and in the end left alone."""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final

from anyio import CancelScope, current_effective_deadline

BLOCKED_AFTER: Final = 1.0
# Python 3.12 has a factory whose tasks begin at once; anyio knows it by its code, and would not know it through ours.
_EAGER: Final = getattr(getattr(asyncio, "eager_task_factory", None), "__code__", None)


class Body:
    """A coroutine that runs from now on; whatever it raises is the result of `task`.

    A cancellation is delivered once, so a step may clean up with awaits, and not inside the step's own shields. One
    that awaits `asyncio.to_thread` gets it when the thread has ended, as with `anyio.to_thread`.
    """

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, None],
        name: str,
        on_block: Callable[[float], None],
        on_end: Callable[[], None],
    ) -> None:
        """Begin; `on_block` is told for how many seconds the loop was blocked, each time that was too long.

        `on_end` is called once, when the task is done.
        """
        self.on_block = on_block
        self._on_end = on_end
        self.left_alone = False
        self.shielding: set[CancelScope] = set()
        self._asked = CancelScope()
        # As the first was made, without looking once more which library runs the loop.
        self._told = type(self._asked)()
        self.led = _Led(coroutine, self)
        self._begun = False
        self._factory: _Factory | None = None
        self.task = asyncio.get_running_loop().create_task(self._run(), name=name)
        self.task.add_done_callback(self._ended)

    def cancel(self) -> None:
        """Cancel it; one whose first line has not run does not begin."""
        if not self._begun:
            self.task.cancel()
        elif self.led.is_in_thread():
            self.led.cut_next = True
        else:
            self._asked.cancel()

    def leave_alone(self) -> None:
        """Cancel it no more than once: in a task group that is cancelled anyio does it again and again, at once."""
        self.left_alone = not self.task.done()

    def thrown(self, error: object) -> None:
        """Note what is thrown into it: a cancellation that it has seen is not delivered again."""
        ours = str(error).startswith(f"Cancelled via cancel scope {id(self._asked):x}")
        if ours or (self.left_alone and isinstance(error, asyncio.CancelledError)):
            self._told.shield = True

    def shields(self, led: "_Led") -> bool:
        """Tell whether a task that is suspended now is to be in a shield; the body itself, once it knows its end."""
        if not self.left_alone:
            return False
        return led is not self.led or self._told.shield or current_effective_deadline() > -math.inf

    def factory(self, present: Callable[..., Any] | None) -> Callable[..., Any] | None:
        """Return what makes the tasks that its code starts, while that has the loop."""
        if isinstance(present, _Factory) or (_EAGER is not None and getattr(present, "__code__", None) is _EAGER):
            return present
        if self._factory is None or self._factory.present is not present:
            self._factory = _Factory(self, present)
        return self._factory

    async def _run(self) -> BaseException | None:
        with self._asked, self._told:
            self._begun = True
            try:
                await self.led
            except BaseException as error:  # noqa: BLE001 - a step's outcome, which must not end the loop
                return error
        return None

    def _ended(self, _task: object) -> None:
        self._on_end()
        del self._on_end
        if not self._begun:
            # It was cancelled before its first line, and nobody awaits it any more.
            self.led.close()
        # Nothing is left in a circle: the collector, which stops everything, would have to look for it.
        self.led.part()
        self._factory = None
        # What it started and left behind belongs to others now, who may cancel it.
        self.left_alone = False
        for shield in tuple(self.shielding):
            shield.shield = False


class _Led(Coroutine[Any, Any, None], Generator[Any, Any, None]):
    """Leads the coroutine of a body, or of a task that its code has started.

    One that is left alone is in a shield whenever it is suspended. Only its own task can enter a scope, and scopes must
    nest: so it is entered here, after its code was suspended, and left before that goes on.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, None], body: Body) -> None:
        self.cut_next = False
        self._coroutine = coroutine
        self._body = body
        self._shield: CancelScope | None = None

    def is_in_thread(self) -> bool:
        """Tell whether it awaits `asyncio.to_thread`."""
        awaited: Any = self._coroutine
        while awaited is not None:
            if getattr(awaited, "cr_code", None) is asyncio.to_thread.__code__:
                return True
            awaited = getattr(awaited, "cr_await", None)
        return False

    def send(self, value: Any) -> Any:
        if self.cut_next:
            self.cut_next = False
            return self._resume(self._coroutine.throw, asyncio.CancelledError())
        return self._resume(self._coroutine.send, value)

    def throw(self, *error: Any) -> Any:
        self.cut_next = False
        if self is self._body.led:
            self._body.thrown(error[min(1, len(error) - 1)])
        return self._resume(self._coroutine.throw, *error)

    def close(self) -> None:
        self._coroutine.close()

    def part(self) -> None:
        """Forget the body, whose coroutine has ended."""
        del self._body

    def __await__(self) -> Generator[Any, Any, None]:
        return self

    def __getattr__(self, name: str) -> Any:
        # What shows tasks looks at the coroutine's own: cr_frame, cr_code, __qualname__, …
        return getattr(self._coroutine, name)

    def _resume(self, resume: Callable[..., Any], *args: Any) -> Any:
        self._leave_shield()
        loop = asyncio.get_running_loop()
        present = loop.get_task_factory()
        factory = self._body.factory(present)
        loop.set_task_factory(factory)
        began = time.monotonic()
        try:
            awaited = resume(*args)
        finally:
            if loop.get_task_factory() is factory:
                loop.set_task_factory(present)
            if (took := time.monotonic() - began) > BLOCKED_AFTER:
                self._body.on_block(took)
        if self._body.shields(self):
            self._enter_shield()
        return awaited

    def _enter_shield(self) -> None:
        self._shield = CancelScope(shield=True)
        self._shield.__enter__()
        self._body.shielding.add(self._shield)

    def _leave_shield(self) -> None:
        if self._shield is not None:
            shield, self._shield = self._shield, None
            self._body.shielding.discard(shield)
            shield.__exit__(None, None, None)


class _Factory:
    """Makes tasks that are led; in place only while the code of a body has the loop."""

    def __init__(self, body: Body, present: Callable[..., Any] | None) -> None:
        self.present = present
        self._body = body

    def __call__(self, loop: asyncio.AbstractEventLoop, coroutine: Any, /, **options: Any) -> Any:
        led = _Led(coroutine, self._body)
        if self.present is None:
            return asyncio.Task(led, loop=loop, **options)
        return self.present(loop, led, **options)
