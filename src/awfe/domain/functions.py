"""Steps from functions."""

import copy
import dataclasses
import functools
import inspect
import types
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, ParamSpec, get_args, get_origin, get_type_hints, overload

from awfe.domain.context import Context
from awfe.domain.step import POLICIES, BaseStep
from awfe.domain.typed import Typed
from awfe.domain.waits import Waiting
from awfe.errors import InvalidInput

P = ParamSpec("P")
_UNNAMED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)


@overload
def step(
    function: Callable[Concatenate[Context[Typed], P], Awaitable[Waiting | None]], /
) -> Callable[P, BaseStep[Typed]]: ...


@overload
def step(
    *, name: str | None = None, aliases: tuple[str, ...] = (), **policies: Any
) -> Callable[[Callable[Concatenate[Context[Typed], P], Awaitable[Waiting | None]]], Callable[P, BaseStep[Typed]]]: ...


def step(function: Any = None, /, **options: Any) -> Any:
    """Turn an async function of `ctx` into a step; its further parameters are the step's arguments.

    `@step` or `@step(name=…, aliases=…, timeout=…, retry=…, on_error=…, on_interrupt=…)`. The type of its
    context is that of the step: `ctx: Context[MyContext]`.
    """
    if function is None:
        return functools.partial(_from_function, **options)
    return _from_function(function)


def _from_function(
    function: Callable[..., Awaitable[Waiting | None]],
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
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or any(p.kind in _UNNAMED for p in parameters[1:]):
        msg = f"@step {function.__qualname__}: it takes ctx, and then arguments that have names; no *args, no **kwargs"
        raise InvalidInput(msg)
    base = _base(function, parameters.pop(0))

    async def work(self: BaseStep, ctx: Context) -> Waiting | None:
        return await function(ctx, **{p.name: getattr(self, p.name) for p in parameters})

    namespace: dict[str, Any] = {
        "__module__": function.__module__,
        "__qualname__": function.__qualname__,
        "__doc__": function.__doc__,
        "__annotations__": {p.name: p.annotation for p in parameters},
        "work": work,
        "_is_value": not parameters,
        **policies,
        **{p.name: _field(p) for p in parameters},
    }
    keywords = {"name": name, "aliases": aliases}
    made: type[BaseStep] = types.new_class(function.__name__, (base,), keywords, lambda body: body.update(namespace))
    return dataclasses.dataclass(made)


def _base(function: Callable[..., Any], ctx: inspect.Parameter) -> Any:
    """Return what the step derives from: `BaseStep`, of the type that its context is declared to have."""
    declared = ctx.annotation
    if isinstance(declared, str) and "[" in declared:
        # Else it has no type, and what it names need not be there: it may be imported for type checkers only.
        try:
            declared = get_type_hints(function)[ctx.name]
        except (NameError, TypeError) as error:
            msg = f"@step {function.__qualname__}: {error}; what its annotations name must be there when it is defined"
            raise InvalidInput(msg) from error
    base: Any = BaseStep
    return base[get_args(declared)] if get_origin(declared) is Context else base


def _field(parameter: inspect.Parameter) -> Any:
    """Return the dataclass field of a parameter; a default that could be changed is copied for each step."""
    options: dict[str, Any] = {"kw_only": parameter.kind is parameter.KEYWORD_ONLY}
    if parameter.default is parameter.empty:
        return dataclasses.field(**options)
    if type(parameter.default).__hash__ is None:
        return dataclasses.field(default_factory=functools.partial(copy.deepcopy, parameter.default), **options)
    return dataclasses.field(default=parameter.default, **options)
