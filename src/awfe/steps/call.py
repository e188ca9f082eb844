"""Functions of the program."""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from awfe.domain import registry
from awfe.domain.context import Context
from awfe.domain.step import BaseStep
from awfe.domain.values import check_key
from awfe.errors import InvalidInput


@dataclass(init=False)
class _Calling:
    """What both kinds share."""

    function: str
    arguments: dict[str, Any]

    def __init__(
        self, function: str | Callable[..., Any], arguments: dict[str, Any] | None = None, **keywords: Any
    ) -> None:
        """Name the function, and check that it is there and takes `ctx` and these arguments."""
        if arguments is not None and not isinstance(arguments, dict):
            msg = f"arguments={arguments!r:.100}: give a dict of keywords, or each as a keyword"
            raise InvalidInput(msg)
        self.function = function if isinstance(function, str) else registry.offer(function)
        self.arguments = {**(arguments or {}), **keywords}
        for key in self.arguments:
            check_key(key, "arguments", InvalidInput)
        found = self._found()
        try:
            inspect.signature(found).bind(None, **self.arguments)
        except (TypeError, ValueError) as error:
            msg = f"{self.function} can't be called with ctx and {sorted(self.arguments)}: {error}"
            raise InvalidInput(msg) from None

    def _found(self) -> Callable[..., Any]:
        """Return the function."""
        try:
            return registry.function(self.function)
        except LookupError as error:
            raise InvalidInput(error.args[0]) from None


@dataclass(init=False)
class Call(_Calling, BaseStep, name="awfe.Call"):
    """Call an async function of `ctx`: `Call(function, key=value)`, or by its name, `Call("module:function")`.

    The keywords are saved; those that are called like a parameter of `Call` go into `arguments`. The function is one of
    a module that `step_modules` names or that an entry point `awfe.steps` has, or was given as itself in this process.
    What it returns is what the step's `work` returns.
    """

    def __init__(
        self, function: str | Callable[..., Any], arguments: dict[str, Any] | None = None, **keywords: Any
    ) -> None:
        """Refuse what is not async."""
        super().__init__(function, arguments, **keywords)
        if not inspect.iscoroutinefunction(self._found()):
            msg = f"{self.function} is not async: give it to CallSync"
            raise InvalidInput(msg)

    async def work(self, ctx: Context) -> None:
        """Call it."""
        return cast("None", await self._found()(ctx, **ctx.reveal(self.arguments)))


@dataclass(init=False)
class CallSync(_Calling, BaseStep, name="awfe.CallSync"):
    """Call a blocking function of `ctx` in a thread, as `Call` calls an async one.

    A stop waits until it has ended: it may look at `ctx.stop_requested`. It can't checkpoint.
    """

    def __init__(
        self, function: str | Callable[..., Any], arguments: dict[str, Any] | None = None, **keywords: Any
    ) -> None:
        """Refuse what is async."""
        super().__init__(function, arguments, **keywords)
        if inspect.iscoroutinefunction(self._found()) or inspect.isasyncgenfunction(self._found()):
            msg = f"{self.function} is async: give it to Call"
            raise InvalidInput(msg)

    async def work(self, ctx: Context) -> None:
        """Call it in a thread; what it prints is passed on in the loop."""
        with ctx.lent(asyncio.get_running_loop().call_soon_threadsafe):
            return cast("None", await asyncio.to_thread(self._found(), ctx, **ctx.reveal(self.arguments)))
