"""Steps: values that a workflow is made of, and their policies."""

import copy
import dataclasses
import difflib
import inspect
import operator
from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar, Generic, Literal, ParamSpec, Self, cast

import msgspec

from awfe.domain import registry
from awfe.domain.context import Context
from awfe.domain.delta import Delta
from awfe.domain.outcomes import storable
from awfe.domain.retry import NEVER, Retry
from awfe.domain.typed import Face, Typed, argument, shape_of
from awfe.domain.values import decode, encode
from awfe.domain.waits import Waiting
from awfe.errors import InvalidInput

P = ParamSpec("P")

OnError = Literal["pause", "skip"]
OnInterrupt = Literal["pause", "rerun"]


class Policies(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a step is run: seconds for one attempt, retries, and what a failure or a crash in the middle means."""

    timeout: float | None = None
    retry: Retry = NEVER
    on_error: OnError = "pause"
    on_interrupt: OnInterrupt = "pause"

    @property
    def rerun(self) -> bool:
        """Whether an interrupted step may simply be run again."""
        return self.on_interrupt == "rerun"


POLICIES = Policies.__struct_fields__
_MAX_NAME = 200


class BaseStep(Generic[Typed]):
    """One step of a workflow: subclass it and write `async def work(self, ctx)`.

    A step with arguments is a dataclass: its fields are saved with the workflow. Policies are class attributes:
    `timeout` (seconds for one attempt), `retry`, `on_error` (`"pause"` or `"skip"`) and `on_interrupt` (`"pause"` or
    `"rerun"`), or given for one use with `using()`. `class Backup(BaseStep, name="acme.backup", aliases=("old",))`
    gives the name under which it is saved; without one that is `module:qualname`. `class Backup(BaseStep[MyContext])`
    gives the context a type, a TypedDict or a msgspec struct: see `Context.typed`.
    """

    timeout: ClassVar[float | None] = None
    retry: ClassVar[Retry] = NEVER
    on_error: ClassVar[OnError] = "pause"
    on_interrupt: ClassVar[OnInterrupt] = "pause"
    _context_type: ClassVar[Any] = None
    # Nothing in it can change, and its own code never sees it: so there need be only one.
    _is_value: ClassVar[bool] = False

    def __init_subclass__(cls, *, name: str | None = None, aliases: tuple[str, ...] = (), **kwargs: Any) -> None:
        """Register the class under its names."""
        super().__init_subclass__(**kwargs)
        cls._context_type = argument(cls, "_context_type")
        for attribute in vars(cls):
            close = difflib.get_close_matches(attribute, POLICIES, n=1, cutoff=0.85)
            if close and attribute not in POLICIES and not callable(vars(cls)[attribute]):
                msg = f"{cls.__qualname__}: {attribute!r} is not a policy; did you mean {close[0]!r}?"
                raise InvalidInput(msg)
        if cls.__module__ != __name__:
            # Those of this module are there to be derived from.
            registry.register(cls, name, aliases)

    async def work(self, ctx: Context[Typed]) -> Waiting | None:
        """Do the step's work; called once for each attempt. Results go into `ctx`.

        Return None, or what the step waits for: `Sleep`, `Until`, `Again` or `WaitFor`.
        """
        raise NotImplementedError

    async def undo(self, ctx: Context[Typed]) -> None:
        """Undo what `work` did, in a rollback; steps that don't write one are passed over."""
        raise NotImplementedError

    def using(self, **policies: Any) -> Self:
        """Return the same step with policies of its own; raises `InvalidInput` for an unknown or impossible one."""
        clone = copy.copy(self)
        # A frozen dataclass is a step too.
        object.__setattr__(clone, "_using", {**_overrides(self), **policies})
        policies_of(clone)
        return clone

    def named(self, name: str) -> Self:
        """Return the same step under a name of its own in a workflow, else its class's; raises `InvalidInput`."""
        if type(name) is not str or not 0 < len(name) <= _MAX_NAME or not name.isprintable():
            msg = f"named({name!r:.60}): give a name of 1 to {_MAX_NAME} printable characters"
            raise InvalidInput(msg)
        clone = copy.copy(self)
        object.__setattr__(clone, "_own_name", name)
        return clone


# To a type checker: else it would hold the `work` of each subclass to that of BaseStep, which takes one argument less.
_AnyStep: Any = BaseStep


class TransactionalStep(_AnyStep, Generic[Typed]):  # type: ignore[misc]  # see there
    """A step whose SQL is committed together with its end, exactly once: write `async def work(self, ctx, session)`.

    `session` is a SQLAlchemy `AsyncSession` in a transaction of the engine's database, which the engine ends: `commit`,
    `rollback` and `close` raise `InvalidInput`, `begin_nested()` is fine. When `work` raises, or is cut off, nothing of
    it is stored; when the transaction fails in passing (a deadlock, a lost connection) `work` is called again in the
    same attempt, with a fresh `ctx`. So an interrupted one is run again, unless its `on_interrupt` is `"pause"`.
    `ctx.checkpoint()` is refused. Keep it short: its rows stay locked, and on SQLite nobody else can write.
    """

    on_interrupt: ClassVar[OnInterrupt] = "rerun"

    def __init_subclass__(cls, *, name: str | None = None, aliases: tuple[str, ...] = (), **kwargs: Any) -> None:
        """Register the class under its names; here for type checkers."""
        super().__init_subclass__(name=name, aliases=aliases, **kwargs)

    @property
    def is_transactional(self) -> bool:
        """Whether this one needs the session; one that does not is run as any other step, without."""
        return True

    async def work(self, ctx: Context[Typed], session: Any) -> None:
        """Do the step's work with `session`, an `AsyncSession`; called once or more for each attempt."""
        raise NotImplementedError


NOTHING = b"{}"
_POLICIES_OF = operator.attrgetter(*POLICIES)
_DECLARED = _POLICIES_OF(BaseStep)
_DEFAULT = Policies()

StepLike = BaseStep | Callable[[], BaseStep]


def can_undo(step: BaseStep) -> bool:
    """Tell whether a step has an `undo` of its own; where that depends on its arguments `is_undoable` says it."""
    return type(step).undo is not BaseStep.undo and bool(getattr(step, "is_undoable", True))


def face_for(step: BaseStep) -> Face | None:
    """Return what gives an attempt its context as the step's type has it; None for a step without one."""
    kind = type(step)._context_type  # noqa: SLF001 - it is not for those who write steps
    shape = None if kind is None else shape_of(kind)
    return None if shape is None else Face(shape)


def _overrides(step: BaseStep) -> dict[str, Any]:
    return cast("dict[str, Any]", getattr(step, "_using", {}))


def called(step: BaseStep) -> str:
    """Return the name of a step: the one that `named` has given, or its class's."""
    return cast("str", getattr(step, "_own_name", type(step).__name__))


def policies_of(step: BaseStep) -> Policies:
    """Return the policies of a step: those of its class, then those of this use; raises `InvalidInput`."""
    overrides = _overrides(step)
    if not overrides and all(map(operator.is_, _POLICIES_OF(type(step)), _DECLARED)):
        return _DEFAULT  # as most steps have them, of which each is asked for at each attempt
    given = {name: _declared(step, name) for name in POLICIES} | overrides
    try:
        policies = msgspec.convert(msgspec.to_builtins(given), Policies)
    except (TypeError, msgspec.ValidationError) as error:
        msg = f"{type(step).__qualname__}: {error}; the policies are {', '.join(POLICIES)}"
        raise InvalidInput(msg) from error
    if policies.timeout is not None and not 0 < policies.timeout < float("inf"):
        msg = f"{type(step).__qualname__}: timeout={policies.timeout!r}; give seconds above 0, or None"
        raise InvalidInput(msg)
    return policies


def _declared(step: BaseStep, policy: str) -> Any:
    """Return what a class says of a policy; with a property it may depend on the step's arguments."""
    value = getattr(type(step), policy)
    return getattr(step, policy) if isinstance(value, property) else value


class StepSpec(msgspec.Struct, frozen=True, gc=False):
    """A step as it is saved; `args` and `policies` are JSON objects."""

    position: int
    name: str
    impl: str
    args: bytes
    policies: bytes

    def load(self) -> BaseStep:
        """Make the step again; raises `LookupError` for an unknown name, `InvalidInput` for unfit arguments."""
        cls = registry.find(self.impl)
        shape_of(cls._context_type)
        if _is_value(cls) and (self.name, self.args, self.policies) == (cls.__name__, NOTHING, NOTHING):
            return _only(cls)  # type: ignore[arg-type]  # a class is hashable, whatever its instances
        try:
            loaded = cast("BaseStep", cls(**decode(self.args)))
        except Exception as error:
            msg = (
                f"step {self.position}: the saved arguments {self.args.decode()} don't fit {cls.__qualname__}: {error}"
            )
            raise InvalidInput(msg) from error
        if self.name not in ("", cls.__name__):
            object.__setattr__(loaded, "_own_name", self.name)
        overrides = {} if self.policies == NOTHING else msgspec.json.decode(self.policies)
        return loaded.using(**overrides) if overrides else loaded


def _is_value(cls: type[BaseStep]) -> bool:
    # Its own word, and not one that it has from another class.
    return bool(vars(cls).get("_is_value"))


# Classes that are made on the way can go again.
@lru_cache(maxsize=256)
def _only(cls: type[BaseStep]) -> BaseStep:
    return cls()


def save(position: int, item: object) -> StepSpec:
    """Return a step as it is saved; raises `InvalidInput` for what is not a step or can't be saved."""
    made = _instance(position, item)
    cls = type(made)
    label = f"step {position} ({cls.__qualname__})"
    takes_session = isinstance(made, TransactionalStep)
    unwritten = cls.work in (BaseStep.work, TransactionalStep.work)
    if unwritten or not inspect.iscoroutinefunction(cls.work) or not takes(cls.work, 2 + takes_session):
        msg = f"{label}: write 'async def work(self, ctx{', session' if takes_session else ''})'"
        raise InvalidInput(msg)
    if not inspect.iscoroutinefunction(cls.undo) or not takes(cls.undo, 2):
        msg = f"{label}: write 'async def undo(self, ctx)', or none"
        raise InvalidInput(msg)
    impl = registry.name_of(cls, label)
    args = _arguments(made, label)
    policies_of(made)
    encoded = encode(args, label, InvalidInput)
    overrides = msgspec.json.encode(_overrides(made))
    spec = StepSpec(position, storable(called(made), 255), impl, encoded, overrides)
    # What can't be made again from what is saved is refused now, not when it is to run.
    spec.load()
    return spec


def check_context(first: StepSpec, context: Delta) -> None:
    """Refuse a context that does not fit the type which the first step has for it; raises `ContextError`."""
    face = face_for(first.load())
    if face is not None:
        face.check(context.encoded)


def takes(function: Callable[..., Any], count: int) -> bool:
    """Tell whether a function can be called with so many arguments."""
    try:
        inspect.signature(function).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return True


def _instance(position: int, item: object) -> BaseStep:
    if isinstance(item, BaseStep):
        return item
    if isinstance(item, type) and issubclass(item, BaseStep):
        try:
            return item()
        except TypeError as error:
            msg = f"step {position}: {item.__qualname__} needs its arguments: {error}"
            raise InvalidInput(msg) from error
    msg = f"step {position}: {item!r:.200} is not a step; give a BaseStep, as a class or an instance"
    raise InvalidInput(msg)


def _arguments(made: BaseStep, label: str) -> dict[str, Any]:
    if not dataclasses.is_dataclass(made):
        own = [each for each in type(made).__mro__ if each not in BaseStep.__mro__]
        slots = [name for each in own for name in vars(each).get("__slots__", ())]
        annotations = [item for each in own for item in inspect.get_annotations(each).items()]
        fields = [name for name, kind in annotations if name not in POLICIES and "ClassVar" not in str(kind)]
        if slots or fields or vars(made).keys() - {"_using", "_own_name"}:
            msg = f"{label}: its attributes would be lost when it is saved; make it a dataclass"
            raise InvalidInput(msg)
        return {}
    fields = dataclasses.fields(made)
    for field in fields:
        if field.name in dir(BaseStep):
            msg = f"{label}: the field {field.name!r} is named like a policy or method of steps; give it another name"
            raise InvalidInput(msg)
    return {field.name: getattr(made, field.name) for field in fields if field.init}
