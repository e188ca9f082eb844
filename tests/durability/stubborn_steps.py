"""Steps that do not end when they are cut short, and steps that end as they should, in every way that Python offers."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar

import anyio
import anyio.to_thread

from awfe import BaseStep, Context

_DEAF = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); sys.stdin.read()"


class Scene:
    """What a step and its test tell each other; steps of threads wait at `door`, others at `gate`."""

    now: ClassVar["Scene"]

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()
        self.door = threading.Event()
        self.seen: list[str] = []
        self.late: BaseException | None = None
        self.process: asyncio.subprocess.Process | None = None
        self.ctx: Context | None = None

    def open(self) -> None:
        """Let the step end."""
        self.gate.set()
        self.door.set()
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()

    async def forever(self) -> None:
        """Wait to be cancelled."""
        self.entered.set()
        await asyncio.sleep(3600)

    async def swallow(self) -> None:
        """Swallow every cancellation until the gate opens."""
        self.entered.set()
        while not self.gate.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.gate.wait()

    async def tidied(self, name: str) -> None:
        """Clean up, with awaits."""
        for _ in range(3):
            await asyncio.sleep(0.001)
        self.seen.append(name)

    async def tidy(self, name: str) -> None:
        """Wait to be cancelled, and clean up."""
        try:
            await self.forever()
        finally:
            await self.tidied(name)


Way = Callable[[Scene], Awaitable[object]]


async def _anyio_group(scene: Scene) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(scene.swallow)


async def _nested_groups(scene: Scene) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(_anyio_group, scene)
        group.start_soon(anyio.sleep, 3600)
        await anyio.sleep(3600)


async def _asyncio_group(scene: Scene) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.swallow())


async def _mixed_groups(scene: Scene) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_anyio_group(scene))


async def _respawning(scene: Scene) -> None:
    async def again() -> None:
        while not scene.gate.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await _anyio_group(scene)

    async with anyio.create_task_group() as group:
        group.start_soon(again)


async def _shielded(scene: Scene) -> None:
    with anyio.CancelScope(shield=True):
        await scene.swallow()


async def _own_timeout(scene: Scene) -> None:
    with anyio.move_on_after(0.001):
        await scene.swallow()


async def _thread(scene: Scene) -> None:
    scene.entered.set()
    await asyncio.to_thread(scene.door.wait)


async def _anyio_thread(scene: Scene) -> None:
    scene.entered.set()
    await anyio.to_thread.run_sync(scene.door.wait)


async def _subprocess(scene: Scene) -> None:
    pipe = asyncio.subprocess.PIPE
    scene.process = process = await asyncio.create_subprocess_exec(sys.executable, "-c", _DEAF, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    await process.stdout.readline()
    scene.entered.set()
    try:
        await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


STUBBORN: dict[str, Way] = {
    "swallows": Scene.swallow,
    "anyio group": _anyio_group,
    "nested groups": _nested_groups,
    "asyncio group": _asyncio_group,
    "mixed groups": _mixed_groups,
    "respawns": _respawning,
    "shielded": _shielded,
    "own timeout": _own_timeout,
    "thread": _thread,
    "anyio thread": _anyio_thread,
    "subprocess": _subprocess,
}
# They can't be told before their shield or their thread ends: then they are.
TOLD_LATE = ("shielded", "thread", "anyio thread")


async def _resources(scene: Scene) -> None:
    @contextlib.asynccontextmanager
    async def resource(name: str) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await scene.tidied(name)

    async with resource("outer"), resource("inner"):
        await scene.forever()


async def _tidy_anyio_groups(scene: Scene) -> None:
    async def child() -> None:
        try:
            await anyio.sleep(3600)
        finally:
            with anyio.CancelScope(shield=True):
                await scene.tidied("child")

    async with anyio.create_task_group() as group:
        group.start_soon(child)
        async with anyio.create_task_group() as inner:
            inner.start_soon(child)
            await scene.forever()


async def _tidy_asyncio_group(scene: Scene) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(scene.tidy("child"))


async def _section(scene: Scene) -> None:
    with anyio.CancelScope(shield=True):
        scene.entered.set()
        await asyncio.sleep(0.2)
        scene.seen.append("section")
    await scene.forever()
    scene.seen.append("went on")


async def _short_thread(scene: Scene) -> None:
    scene.entered.set()
    try:
        await asyncio.to_thread(scene.door.wait, 0.2)
        scene.seen.append("went on")
    finally:
        await scene.tidied("after")


async def _short_anyio_thread(scene: Scene) -> None:
    scene.entered.set()
    await anyio.to_thread.run_sync(scene.door.wait, 0.2)
    scene.seen.append("after")
    await scene.forever()


async def _timeouts(scene: Scene) -> None:
    try:
        async with asyncio.timeout(3600):
            with anyio.fail_after(3600):
                await asyncio.wait_for(scene.tidy("waited for"), 3600)
    finally:
        await scene.tidied("timeouts")


async def _saves(scene: Scene) -> None:
    assert scene.ctx is not None
    while True:
        await scene.ctx.checkpoint()
        scene.entered.set()


async def _raises(scene: Scene) -> None:
    try:
        await scene.forever()
    except asyncio.CancelledError:
        raise ValueError from None


async def _returns(scene: Scene) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await scene.forever()


# What each has done when it has ended, cut short once.
TIDY: dict[str, tuple[Way, list[str]]] = {
    "finally": (lambda scene: scene.tidy("up"), ["up"]),
    "resources": (_resources, ["inner", "outer"]),
    "anyio groups": (_tidy_anyio_groups, ["child", "child"]),
    "asyncio group": (_tidy_asyncio_group, ["child", "child"]),
    "section": (_section, ["section"]),
    "thread": (_short_thread, ["after"]),
    "anyio thread": (_short_anyio_thread, ["after"]),
    "timeouts": (_timeouts, ["waited for", "timeouts"]),
    "saves": (_saves, []),
    "raises": (_raises, []),
    "returns": (_returns, []),
}


@dataclass
class Stubborn(BaseStep, name="tests.durability.Stubborn"):
    """Does not end in time, and then tries to save something and to go on."""

    way: str

    async def work(self, ctx: Context) -> None:
        """Be stubborn."""
        scene = Scene.now
        ctx["begun"] = True
        await ctx.checkpoint()
        try:
            await STUBBORN[self.way](scene)
            # A place where it can be told, for one that could not be told before.
            await asyncio.sleep(0.001)
            scene.seen.append("went on")
        finally:
            ctx["late"] = True
            try:
                await ctx.checkpoint()
            except BaseException as error:
                scene.late = error
                raise


@dataclass
class Tidy(BaseStep, name="tests.durability.Tidy"):
    """Ends as it should when it is cut short."""

    way: str

    async def work(self, ctx: Context) -> None:
        """Wait for that."""
        Scene.now.ctx = ctx
        await TIDY[self.way][0](Scene.now)
