"""Steps that do not end when they are cut short, in every way that Python offers."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import Awaitable, Callable
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

    def open(self) -> None:
        """Let the step end."""
        self.gate.set()
        self.door.set()
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()

    async def swallow(self) -> None:
        """Swallow every cancellation until the gate opens."""
        self.entered.set()
        while not self.gate.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.gate.wait()


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
