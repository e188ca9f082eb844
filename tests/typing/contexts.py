"""Steps whose context has a type, for type checkers; as in `api.py` each `type: ignore` is an error that is wanted."""

from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict, assert_type

import msgspec

from awfe import BaseStep, Context, Engine, Sleep, StepLike, TransactionalStep, step
from awfe.testing import StepRun, run_step


class Servers(TypedDict):
    """A part of the keys."""

    target_servers: list[str]


class Deploy(Servers):
    """All of them."""

    stopped_servers: NotRequired[list[str]]


class Release(msgspec.Struct):
    """The same for a struct."""

    version: str
    replicas: int = 1


def count(ctx: Context[Servers]) -> int:
    """Take the context of any step that has these keys."""
    return len(ctx.typed["target_servers"])


def note(ctx: Context) -> None:
    """Take any context."""
    ctx["noted"] = ctx.workflow


class Stop(BaseStep[Deploy]):
    """A TypedDict's keys and values are checked."""

    async def work(self, ctx: Context[Deploy]) -> None:
        """Use them."""
        assert_type(ctx.typed, Deploy)
        assert_type(ctx.typed["target_servers"], list[str])
        assert_type(ctx["anything"], Any)
        ctx.typed["stopped_servers"] = [*ctx.typed["target_servers"]]
        print(ctx.typed["server"])  # type: ignore[typeddict-item]
        ctx.typed["stoped_servers"] = []  # type: ignore[typeddict-unknown-key]
        ctx.typed["target_servers"] = "a"  # type: ignore[typeddict-item]
        ctx.typed = {"target_servers": []}  # type: ignore[misc]
        count(ctx)
        note(ctx)
        await ctx.checkpoint()

    async def undo(self, ctx: Context[Deploy]) -> None:
        """Use them, too."""
        del ctx.typed["target_servers"]  # type: ignore[misc]
        del ctx.typed["stopped_servers"]


@dataclass
class Publish(BaseStep[Release], name="typing.Publish"):
    """A struct's fields and their types are checked."""

    replicas: int

    async def work(self, ctx: Context[Release]) -> Sleep:
        """Use them."""
        assert_type(ctx.typed.replicas, int)
        ctx.typed.replicas = self.replicas
        ctx.typed.replicas = "2"  # type: ignore[assignment]
        ctx.typed.replica = 2  # type: ignore[attr-defined]
        count(ctx)  # type: ignore[arg-type]
        return Sleep(1)


class Other(BaseStep[Release]):
    """A step takes the context that it has declared."""

    async def work(self, ctx: Context[Deploy]) -> None:  # type: ignore[override]
        """Take another."""


class Plain(BaseStep):
    """One without a type may do what it likes."""

    async def work(self, ctx: Context) -> None:
        """Do it."""
        assert_type(ctx.typed, Any)
        ctx["anything"] = 1


class Number(BaseStep[int]):  # type: ignore[type-var]
    """A context is no number."""


class Insert(TransactionalStep[Deploy]):
    """A transactional step has a type, too."""

    async def work(self, ctx: Context[Deploy], session: Any) -> None:
        """Use it."""
        assert_type(ctx.typed, Deploy)
        session.add(ctx.typed["target_servers"])


@step
async def restart(ctx: Context[Deploy], server: str) -> None:
    """Use the keys."""
    ctx.typed.get("stopped_servers", []).remove(server)
    ctx.typed["target_servers"].remove(1)  # type: ignore[arg-type]


@step(name="typing.scale")
async def scale(ctx: Context[Release], by: int = 2) -> None:
    """Use the fields."""
    ctx.typed.replicas *= by


async def use(engine: Engine) -> None:
    """Put them into a workflow."""
    assert_type(restart("a"), BaseStep[Deploy])
    assert_type(scale(by=3), BaseStep[Release])
    restart(1)  # type: ignore[arg-type]
    steps: list[StepLike] = [Stop, Publish(2), restart("a").using(timeout=3), scale(), Plain, Insert]
    await engine.create_workflow("w", {}, steps)
    await engine.create_workflow("w", {}, [Stop, restart("a"), Insert()])
    assert_type(await run_step(Stop), StepRun)
    await Stop().work(Context[Deploy]({"target_servers": []}))
    await Stop().work(Context[Release]({}))  # type: ignore[arg-type]
