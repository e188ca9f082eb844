"""The context that the steps of a workflow share, and what changed in it.

The context is a log of changes. Its unit is the top-level key; each is kept encoded, so a change costs what it weighs
and an attempt that fails has touched nothing.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, Self, cast

import msgspec

from awfe.domain.delta import Delta
from awfe.domain.encoded import Encoded
from awfe.domain.secret import replaced
from awfe.domain.services import Log, Services, detached, lent
from awfe.domain.typed import Face, Typed_co, declared
from awfe.domain.values import check_key, decode, encode, mentions_secret
from awfe.errors import InvalidInput


class StepInfo(msgspec.Struct, frozen=True, gc=False):
    """What a step can know about itself; `key` stays the same for all its attempts (an idempotency key).

    `woken` tells why `work` is called once more after `Again`: `"due"` or `"signal"`; None the first time.
    """

    position: int = 1
    name: str = "step"
    attempt: int = 1
    key: str = "test"
    woken: str | None = None


class Context(MutableMapping[str, Any], Generic[Typed_co]):
    """The values that the steps of a workflow share: JSON values under `str` keys.

    A value is checked and copied when it is set. What is read is the context's own object, and changes to it are
    noticed when the step ends or checkpoints; don't keep it for longer than the attempt. Raises `ContextError` for
    what can't be saved unchanged. `Context({...})` without an engine serves to test a step's `work`.
    """

    _log: Log | None = None

    def __init__(
        self,
        values: Mapping[str, Any] | None = None,
        *,
        workflow: str = "test",
        step: StepInfo | None = None,
        log: Log | None = None,
    ) -> None:
        """Begin with a copy of the values."""
        committed = Encoded(Delta.of(values).encoded if values else {})
        self._begin(committed, detached(), workflow, step or StepInfo())
        self._log = log

    def _begin(
        self, committed: Encoded, services: Services, workflow: str, step: StepInfo, face: Face | None = None
    ) -> None:
        self._committed = committed
        self._encoded = Encoded(committed)
        self._live: dict[str, Any] = {}
        # The values are shared with the workflow until something is committed.
        self._is_shared = True
        # What may differ from what is committed; a key that was removed comes in again behind the others.
        self._touched: dict[str, None] = {}
        # Each removal has a number, so that one made while a change is being saved is not taken for saved.
        self._removed: dict[str, int] = {}
        self._removals = 0
        self._collected: dict[str, int] = {}
        self._services = services
        self._face = face
        self.workflow = workflow
        self.step = step

    @classmethod
    def attached(
        cls,
        committed: Mapping[str, bytes],
        services: Services,
        face: Face | None = None,
        *,
        workflow: str = "test",
        step: StepInfo | None = None,
    ) -> Self:
        """Return the view that one attempt has of a workflow's context; it shares the values, and changes a copy."""
        ctx = cls.__new__(cls)
        values = committed if isinstance(committed, Encoded) else Encoded(committed)
        ctx._begin(values, services, workflow, step or StepInfo(), face)  # noqa: SLF001 - it is its own
        return ctx

    @property
    def log(self) -> Log:
        """A logger that names the workflow and the step."""
        return self._services.log if self._log is None else self._log

    @property
    def typed(self) -> Typed_co:
        """The values as an object of the type that the step declares; what is changed in it is saved with the rest.

        Made once in an attempt; raises `ContextError` where they don't fit, `InvalidInput` where no type is declared.
        """
        self._face = self._face or declared(self)
        return cast("Typed_co", self._face.of(self))

    def __getitem__(self, key: str) -> Any:
        """Return the context's own value."""
        if key not in self._live:
            value = decode(data := self._encoded[key])
            self._live[key] = self.reveal(value) if mentions_secret(data) else value
        return self._live[key]

    def __setitem__(self, key: str, value: Any) -> None:
        """Check a value and keep a copy."""
        check_key(key, "context")
        self._put(key, encode(value, f"context[{key!r}]"))
        self._live.pop(key, None)

    def _put(self, key: str, data: bytes) -> None:
        self._encoded[key] = data
        self._touched[key] = None

    def __delitem__(self, key: str) -> None:
        """Remove a key."""
        del self._encoded[key]
        self._live.pop(key, None)
        self._touched.pop(key, None)
        self._removals += 1
        self._removed[key] = self._removals

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys, in the order in which they were first set."""
        return iter(self._encoded)

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._encoded)

    def __contains__(self, key: object) -> bool:
        """Tell whether a key is set, without handing its value out."""
        return key in self._encoded

    def get(self, key: str, default: Any = None) -> Any:
        """Return the context's own value, or another where there is none."""
        return self[key] if key in self._encoded else default

    def reveal(self, value: Any) -> Any:
        """Return a value with the texts of its secrets; what is read from the context, or an argument, has them.

        Raises `ConfigError` for a secret that is not known.
        """
        return replaced(value, self._services.secret)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the context's own value, set to a copy of the default where there was none."""
        if key not in self:
            self[key] = default
        return self[key]

    def __repr__(self) -> str:
        """Show the values."""
        return f"Context({dict(self)!r})"

    @property
    def services(self) -> Services:
        """What the attempt offers: for a step that makes contexts for steps of its own."""
        return self._services

    @property
    def stop_requested(self) -> bool:
        """Whether the step is asked to end: a loop that does not await can look here."""
        return self._services.stop_requested

    def output(self, text: str) -> None:
        """Print for people: goes to the engine's `redirect`, and its tail is kept with the attempt."""
        if not isinstance(text, str):
            msg = f"ctx.output({text!r:.60}): give a str"
            raise InvalidInput(msg)
        self._services.output(text)

    def checkpoint(self) -> Awaitable[None]:
        """Save what has changed so far: `await ctx.checkpoint()`; a restart of the step begins with it.

        Raises `ContextError` when a value can't be saved, `LockLost` when another runner has taken over.
        """
        return self._services.checkpoint(self)

    def child(self, name: str, context: Mapping[str, Any], steps: Sequence[Any]) -> Awaitable[Any]:
        """Begin a workflow of this step's, or find it: `await ctx.child(…)` gives a `Workflow`, as it stands.

        It runs in the background, and sends the signal `"awfe.child"` when it rests. Raises as `create_workflow`.
        """
        return self._services.child(name, context, steps)

    def undo_child(self, name: str) -> Awaitable[None]:
        """Roll a workflow of this step's back, to its end; raises what `rollback` does."""
        return self._services.undo_child(name)

    def settle(self) -> None:
        """Take over what has changed in `typed`; raises `ContextError` where anything does not fit its type."""
        if self._face is not None:
            self._face.put_into(self)
            self._face.check(self._encoded)

    def snapshot(self) -> Encoded:
        """Return a copy of the values as they are now, encoded: what `attached` begins with."""
        self.settle()
        made = Encoded(self._encoded)
        made.update({key: encode(value, f"context[{key!r}]") for key, value in self._live.items()})
        return made

    @contextmanager
    def lent(self, hand_over: Callable[..., object]) -> Iterator[None]:
        """Let one thread use it; `hand_over` calls a function of a text in the loop."""
        own, self._services = self._services, lent(self._services, hand_over)
        try:
            yield
        finally:
            self._services = own

    def collect(self) -> Delta:
        """Return what has changed since the last commit; encodes again only what was handed out."""
        for key, value in self._live.items():
            self._put(key, encode(value, f"context[{key!r}]"))
        self.settle()
        changed = {key: msgspec.Raw(self._encoded[key]) for key in self._touched if self._differs(key)}
        self._collected = dict(self._removed)
        delta = Delta(changed, tuple(key for key in self._removed if key in self._committed))
        self._services.inspect(delta)
        return delta

    def _differs(self, key: str) -> bool:
        return key in self._removed or self._committed.get(key) != self._encoded[key]

    def commit(self, delta: Delta) -> None:
        """Take the change that was collected last as saved."""
        if self._is_shared:
            self._committed, self._is_shared = Encoded(self._committed), False
        delta.apply(self._committed)
        self._removed = {key: n for key, n in self._removed.items() if n != self._collected.get(key)}
        self._touched = {key: None for key in self._touched if self._differs(key)}

    @property
    def size(self) -> int:
        """Bytes of the context as it would be saved, about."""
        return self._encoded.size
