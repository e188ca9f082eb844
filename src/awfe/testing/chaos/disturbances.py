"""What goes wrong in a chaos run: each kind again and again, at moments that its seed decides."""

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from random import Random

from awfe.engine import Engine
from awfe.errors import WorkflowLocked, WorkflowNotFound
from awfe.testing.chaos.crowd import Child, Crowd
from awfe.testing.chaos.journal import Journal
from awfe.testing.chaos.plan import Plan
from awfe.testing.chaos.server import Server

_BUSY, _SOON = 0.05, 3.0


class Disturbances:
    """Kills, freezes, cuts, deploys and restarts; `counts` says how many there were of each."""

    def __init__(self, plan: Plan, crowd: Crowd, server: Server, journal: Journal, prefix: str) -> None:
        """Nothing is disturbed yet."""
        # Drivers may swallow a cancellation, so nothing here is ended by one.
        self.over = asyncio.Event()
        self.counts: Counter[str] = Counter()
        self.refusals = 0
        self.problems: list[str] = []
        self._plan = plan
        self._crowd = crowd
        self._server = server
        self._journal = journal
        self._prefix = prefix

    async def disturb(self, engine: Engine) -> None:
        """Disturb until the goals are reached, or until it is `over`; `engine` is an operator's."""
        kinds: dict[str, Callable[[Random], Awaitable[bool]]] = {
            "kills": self._kill,
            "deploys": self._deploy,
            "stops": lambda rng: self._freeze(rng, engine),
        }
        if self._server.kind != "sqlite":
            kinds["cuts"] = self._server.cut
        if self._plan.restart is not None:
            kinds["restarts"] = self._restart
        async with asyncio.TaskGroup() as group:
            for kind, act in kinds.items():
                group.create_task(self._again_and_again(kind, act))

    async def _again_and_again(self, kind: str, act: Callable[[Random], Awaitable[bool]]) -> None:
        rng = Random(f"{self._plan.seed}:{kind}")  # noqa: S311 - not a secret
        goals = self._plan.goals
        while goals is None or self.counts[kind] < goals.get(kind, 0):
            with suppress(TimeoutError):
                async with asyncio.timeout(rng.uniform(*self._plan.pace[kind])):
                    await self.over.wait()
            if self.over.is_set():
                return
            try:
                self.counts[kind] += await act(rng)
            except Exception as error:  # noqa: BLE001 - whatever it is, there is a report to make
                self.problems.append(f"{kind}: {error!r}")

    async def _kill(self, rng: Random) -> bool:
        async with self._crowd.one(rng) as child:
            if child is None:
                return False
            child.signal(signal.SIGKILL)
            await child.ended()
            return True

    async def _deploy(self, rng: Random) -> bool:
        async with self._crowd.one(rng) as child:
            if child is None:
                return False
            await self._crowd.dismiss(child)
            return True

    async def _freeze(self, rng: Random, engine: Engine) -> bool:
        async with self._crowd.one(rng) as child:
            if child is None:
                return False
            # A lease runs out, whoever is frozen; the file that an engine holds is held by a frozen one, too.
            stays_locked = self._server.kind == "sqlite" and self._plan.locks != "lease"
            if stays_locked:
                await self._at_work(child)
            self._journal.write("freeze", frozen=child.pid)
            child.signal(signal.SIGSTOP)
            try:
                if stays_locked:
                    await self._expect_locked(engine, child)
                await asyncio.sleep(rng.uniform(*self._plan.freeze))
            finally:
                child.signal(signal.SIGCONT)
            return True

    async def _at_work(self, child: Child) -> None:
        """Return when a process runs something, or when that takes too long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_SOON):
                while not await self._server.run_by(child.pid, self._prefix):  # noqa: ASYNC110 - another process's doing
                    await asyncio.sleep(_BUSY)

    async def _expect_locked(self, engine: Engine, child: Child) -> None:
        """See that what a frozen process runs on SQLite, where it keeps its lock, is refused until it goes on."""
        while _state_of(child.pid) != "T":  # noqa: ASYNC110 - the kernel has no event for it
            await asyncio.sleep(_BUSY)
        for name in await self._server.run_by(child.pid, self._prefix):
            try:
                await engine.run(name)
            except WorkflowLocked:
                self.refusals += 1
            except WorkflowNotFound as error:
                self.problems.append(f"a frozen process runs {name!r}: {error}")
            else:
                self.problems.append(f"{name!r} was run, while the process that runs it was frozen")

    async def _restart(self, _rng: Random) -> bool:
        assert self._plan.restart is not None  # noqa: S101 - asked before
        await self._plan.restart()
        return True


def _state_of(pid: int) -> str:
    """Return the state of a process as the kernel tells it; where it does not, "T" at once."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return "T"
    return stat.rpartition(")")[2].split()[0]
