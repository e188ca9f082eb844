"""What serves a context: a running attempt, or what stands in its place."""

import logging
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from awfe.domain.delta import Delta
from awfe.domain.secret import Revealed, Secret, from_environment, revealed
from awfe.errors import InvalidInput

if TYPE_CHECKING:
    from awfe.domain.context import Context


Log = logging.Logger | logging.LoggerAdapter[Any]


class Services(Protocol):
    """What a running attempt offers to its context; the default serves unit tests of a step."""

    @property
    def log(self) -> Log:
        """Return a logger that names the workflow and the step."""

    def checkpoint(self, ctx: "Context") -> Awaitable[None]:
        """Save what has changed so far."""

    def output(self, text: str) -> None:
        """Pass on what the step prints."""

    def child(self, name: str, context: Mapping[str, Any], steps: Sequence[Any]) -> Awaitable[Any]:
        """Begin a workflow of the step's own, or find it; returns a `Workflow`."""

    def undo_child(self, name: str) -> Awaitable[None]:
        """Roll such a workflow back."""

    def secret(self, secret: Secret) -> Revealed:
        """Return the text of a secret; raises `ConfigError` for one that is not known."""

    def inspect(self, delta: Delta) -> None:
        """Refuse a change that may not be saved."""

    @property
    def stop_requested(self) -> bool:
        """Tell whether the step is asked to end."""


class _Detached:
    """Serves a context that no engine made: a checkpoint keeps the changes, output goes nowhere, no child begins."""

    stop_requested = False
    log = logging.getLogger("awfe")

    def secret(self, secret: Secret) -> Revealed:
        return revealed(secret, from_environment(secret.name))

    def inspect(self, delta: Delta) -> None:
        pass

    def output(self, text: str) -> None:
        pass

    def checkpoint(self, ctx: "Context") -> Awaitable[None]:
        ctx.commit(ctx.collect())
        return _Done()

    def child(self, name: str, context: Mapping[str, Any], steps: Sequence[Any]) -> Awaitable[Any]:
        raise _needs_engine(name, context, steps)

    def undo_child(self, name: str) -> Awaitable[None]:
        raise _needs_engine(name)


def _needs_engine(name: str, *_what: object) -> InvalidInput:
    return InvalidInput(f"{name!r}: a workflow of its own needs an engine, and this context has none")


class _Lent:
    """Serves a context that a thread uses: what it prints is handed over to the loop."""

    def __init__(self, services: Services, hand_over: Callable[..., object]) -> None:
        self._services = services
        self._hand_over = hand_over
        self.secret = services.secret
        self.inspect = services.inspect

    @property
    def log(self) -> Log:
        return self._services.log

    @property
    def stop_requested(self) -> bool:
        return self._services.stop_requested

    def output(self, text: str) -> None:
        self._hand_over(self._services.output, text)

    def checkpoint(self, _ctx: "Context") -> Awaitable[None]:
        msg = "a function in a thread can't checkpoint: make it async, or several steps of it"
        raise InvalidInput(msg)

    def child(self, name: str, context: Mapping[str, Any], steps: Sequence[Any]) -> Awaitable[Any]:
        raise _needs_engine(name, context, steps)

    def undo_child(self, name: str) -> Awaitable[None]:
        raise _needs_engine(name)


class _Done:
    def __await__(self) -> Generator[Any, Any, None]:
        yield from ()


def detached() -> Services:
    """Return what serves a context that no engine made."""
    return _Detached()


def lent(services: Services, hand_over: Callable[..., object]) -> Services:
    """Return what serves a context while a thread uses it; `hand_over` calls a function of a text in the loop."""
    return _Lent(services, hand_over)
