"""Steps: values that a workflow is made of, and their policies."""

import copy
import dataclasses
import functools
import inspect
import types
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Concatenate, Literal, ParamSpec, Self, cast, overload

import msgspec

from awfe.domain import registry
from awfe.domain.context import Context
from awfe.domain.retry import NEVER, Retry
from awfe.domain.values import encode
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


class BaseStep:
    """One step of a workflow: subclass it and write `async def work(self, ctx)`.

    A step with arguments is a dataclass: its fields are saved with the workflow. Policies are class attributes:
    `timeout` (seconds for one attempt), `retry`, `on_error` (`"pause"` or `"skip"`) and `on_interrupt` (`"pause"` or
    `"rerun"`), or given for one use with `using()`. `class Backup(BaseStep, name="acme.backup", aliases=("old",))`
    gives the name under which it is saved; without one that is `module:qualname`.
    """

    timeout: ClassVar[float | None] = None
    retry: ClassVar[Retry] = NEVER
    on_error: ClassVar[OnError] = "pause"
    on_interrupt: ClassVar[OnInterrupt] = "pause"

    def __init_subclass__(cls, *, name: str | None = None, aliases: tuple[str, ...] = (), **kwargs: Any) -> None:
        """Register the class under its names."""
        super().__init_subclass__(**kwargs)
        registry.register(cls, name, aliases)

    async def work(self, ctx: Context) -> None:
        """Do the step's work; called once for each attempt. Return None: results go into `ctx`."""
        raise NotImplementedError

    def using(self, **policies: Any) -> Self:
        """Return the same step with policies of its own; raises `InvalidInput` for an unknown or impossible one."""
        clone = copy.copy(self)
        # A frozen dataclass is a step too.
        object.__setattr__(clone, "_using", {**_overrides(self), **policies})
        policies_of(clone)
        return clone


StepLike = BaseStep | Callable[[], BaseStep]


def _overrides(step: BaseStep) -> dict[str, Any]:
    return cast("dict[str, Any]", getattr(step, "_using", {}))


def policies_of(step: BaseStep) -> Policies:
    """Return the policies of a step: those of its class, then those of this use; raises `InvalidInput`."""
    given = {name: getattr(type(step), name) for name in POLICIES} | _overrides(step)
    try:
        policies = Policies(**given)
        msgspec.convert(msgspec.to_builtins(policies), Policies)
    except (TypeError, msgspec.ValidationError) as error:
        msg = f"{type(step).__qualname__}: {error}; the policies are {', '.join(POLICIES)}"
        raise InvalidInput(msg) from error
    if policies.timeout is not None and not 0 < policies.timeout < float("inf"):
        msg = f"{type(step).__qualname__}: timeout={policies.timeout!r}; give seconds above 0, or None"
        raise InvalidInput(msg)
    return policies


class StepSpec(msgspec.Struct, frozen=True):
    """A step as it is saved; `args` and `policies` are JSON objects."""

    position: int
    name: str
    impl: str
    args: bytes
    policies: bytes

    def load(self) -> BaseStep:
        """Make the step again; raises `LookupError` for an unknown name, `InvalidInput` for unfit arguments."""
        cls = registry.find(self.impl)
        try:
            loaded = cls(**msgspec.json.decode(self.args))
        except Exception as error:
            msg = (
                f"step {self.position}: the saved arguments {self.args.decode()} don't fit {cls.__qualname__}: {error}"
            )
            raise InvalidInput(msg) from error
        overrides = msgspec.json.decode(self.policies)
        if "retry" in overrides:
            overrides["retry"] = msgspec.convert(overrides["retry"], Retry)
        return cast("BaseStep", loaded).using(**overrides) if overrides else cast("BaseStep", loaded)


def save(position: int, item: object) -> StepSpec:
    """Return a step as it is saved; raises `InvalidInput` for what is not a step or can't be saved."""
    made = _instance(position, item)
    cls = type(made)
    label = f"step {position} ({cls.__qualname__})"
    if cls.work is BaseStep.work or not inspect.iscoroutinefunction(cls.work):
        msg = f"{label}: write 'async def work(self, ctx)'"
        raise InvalidInput(msg)
    impl = registry.name_of(cls, label)
    policies_of(made)
    args = _arguments(made, label)
    encoded = encode(args, label, InvalidInput)
    overrides = msgspec.json.encode(_overrides(made))
    return StepSpec(position, cls.__name__, impl, encoded, overrides)


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
        if vars(made).keys() - {"_using"}:
            msg = f"{label}: it has attributes, which are lost when it is saved; make it a dataclass"
            raise InvalidInput(msg)
        return {}
    fields = dataclasses.fields(made)
    for field in fields:
        if field.name in POLICIES:
            msg = f"{label}: the field {field.name!r} is named like a policy; give it another name, or use .using()"
            raise InvalidInput(msg)
    return {field.name: getattr(made, field.name) for field in fields if field.init}


@overload
def step(function: Callable[Concatenate[Context, P], Awaitable[None]], /) -> Callable[P, BaseStep]: ...


@overload
def step(
    *, name: str | None = None, aliases: tuple[str, ...] = (), **policies: Any
) -> Callable[[Callable[Concatenate[Context, P], Awaitable[None]]], Callable[P, BaseStep]]: ...


def step(function: Any = None, /, **options: Any) -> Any:
    """Turn an async function of `ctx` into a step; its further parameters are the step's arguments.

    `@step` or `@step(name=…, aliases=…, timeout=…, retry=…, on_error=…, on_interrupt=…)`.
    """
    if function is None:
        return functools.partial(_from_function, **options)
    return _from_function(function)


def _from_function(
    function: Callable[..., Awaitable[None]],
    name: str | None = None,
    aliases: tuple[str, ...] = (),
    **policies: Any,
) -> type[BaseStep]:
    if not inspect.iscoroutinefunction(function):
        msg = f"@step needs an async function, not {function!r:.200}"
        raise InvalidInput(msg)
    unknown = policies.keys() - set(POLICIES)
    if unknown:
        msg = f"@step: unknown {', '.join(sorted(unknown))}; the policies are {', '.join(POLICIES)}"
        raise InvalidInput(msg)
    _, *parameters = inspect.signature(function).parameters.values()
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        msg = f"@step {function.__qualname__}: name every parameter; *args and **kwargs can't be saved"
        raise InvalidInput(msg)

    async def work(self: BaseStep, ctx: Context) -> None:
        return await function(ctx, **{p.name: getattr(self, p.name) for p in parameters})

    namespace: dict[str, Any] = {
        "__module__": function.__module__,
        "__qualname__": function.__qualname__,
        "__doc__": function.__doc__,
        "__annotations__": {p.name: p.annotation for p in parameters},
        "work": work,
        **policies,
        **{p.name: _default(p) for p in parameters if p.default is not p.empty},
    }
    keywords = {"name": name, "aliases": aliases}
    made: type[BaseStep] = types.new_class(
        function.__name__, (BaseStep,), keywords, lambda body: body.update(namespace)
    )
    return dataclasses.dataclass(made)


def _default(parameter: inspect.Parameter) -> Any:
    if isinstance(parameter.default, (list, dict)):
        return dataclasses.field(default_factory=functools.partial(copy.deepcopy, parameter.default))
    return parameter.default
