"""Directs a chaos run: workers, operators, disturbances, then an end in order, and the verdict."""

import asyncio
import logging
import secrets
import shutil
import tempfile
import time
from collections.abc import Coroutine
from contextlib import suppress
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from awfe import urls
from awfe.domain.states import WorkflowState
from awfe.engine import Engine
from awfe.testing.chaos.crowd import Crowd
from awfe.testing.chaos.disturbances import Disturbances
from awfe.testing.chaos.finish import finish
from awfe.testing.chaos.journal import Journal
from awfe.testing.chaos.operators import Operators
from awfe.testing.chaos.plan import Plan
from awfe.testing.chaos.report import Report
from awfe.testing.chaos.server import Server
from awfe.testing.chaos.steps import Work
from awfe.testing.chaos.verdict import judge
from awfe.testing.chaos.worker import Orders
from awfe.testing.invariants import violations

_LOOK_EVERY = 1.0


class ChaosRefusedError(Exception):
    """The database has workflows, which would be taken up and changed; or a chaos run is under way in this process."""


async def run(plan: Plan) -> Report:
    """Do a chaos run, and return what it found; raises `ChaosRefusedError`, and `AwfeError` where nothing can begin.

    Its files go to a temporary directory, which is kept when there was a violation. Workflows stay in the database.
    """
    server = Server(plan.url)
    if hasattr(Work, "journal"):
        msg = "one chaos run at a time in a process"
        raise ChaosRefusedError(msg)
    if not plan.reuse and (there := await server.workflows()):
        shown = urls.shown(urls.resolve(plan.url))
        msg = (
            f"{shown} has {there} workflows, and all of them may be run; give a database of its own, or allow its reuse"
        )
        raise ChaosRefusedError(msg)
    directory = Path(tempfile.mkdtemp(prefix="awfe-chaos-"))
    director = _Director(plan, server, directory)
    try:
        await director.run()
    finally:
        del Work.journal
        report = director.report
        # An interrupted run has come to no verdict, and left nothing to look at.
        if not report.violations and (report.reached or not report.seconds):
            shutil.rmtree(directory, ignore_errors=True)
    return report


class _Director:
    def __init__(self, plan: Plan, server: Server, directory: Path) -> None:
        shown = urls.shown(urls.resolve(plan.url))
        self.report = Report(
            database=shown, seed=plan.seed, processes=plan.processes, locks=plan.locks, files=str(directory)
        )
        self._plan = plan
        self._server = server
        self._directory = directory
        self._prefix = f"chaos-{plan.seed}-{secrets.token_hex(3)}-"
        self._journal = Work.journal = Journal(directory / "journal")
        self._numbers = count(1)
        self._log = logging.getLogger(f"awfe.chaos.{self._prefix}")
        self._log.propagate = False

    async def run(self) -> None:
        handler = logging.FileHandler(self._directory / "director.log")
        self._log.addHandler(handler)
        began = time.monotonic()
        try:
            await self._as_far_as_possible(self._disturbed())
            self.report.seconds = time.monotonic() - began
            await self._as_far_as_possible(self._finished())
            await judge(self._plan.url, self._journal.path, self._prefix, self.report)
            self.report.violations = list(dict.fromkeys(self.report.violations))
            if self.report.reached and not self.report.violations:
                self.report.files = None
        finally:
            self._log.removeHandler(handler)
            handler.close()

    async def _as_far_as_possible(self, stage: Coroutine[Any, Any, None]) -> None:
        """Whatever breaks a run, there is a verdict to come to on what it has done so far."""
        try:
            await stage
        except Exception as error:  # noqa: BLE001 - see above
            self._log.exception("the run broke")
            self.report.reached = False
            self.report.violations.append(f"the chaos run itself broke: {error!r}")

    @property
    def _found_out(self) -> bool:
        """Whether the run was for its first violation, and that is there: then nothing needs an end in order."""
        return self._plan.until_violation and bool(self.report.violations)

    def _orders(self, number: int) -> Orders:
        plan = self._plan
        paths = {"journal": str(self._journal.path), "log": str(self._directory / f"worker-{number}.log")}
        return Orders(plan.url, plan.seed, number, self._prefix, plan.lanes, plan.settings, guards=plan.guards, **paths)

    def _engine(self) -> Engine:
        return Engine(self._plan.url, logger=self._log, **self._plan.settings)

    async def _disturbed(self) -> None:
        plan = self._plan
        async with self._engine() as engine:
            operators = Operators(engine, self._journal, self._prefix, self._numbers)
            async with Crowd(plan.processes, self._orders, self.report.violations.append) as crowd:
                disturbances = Disturbances(plan, crowd, self._server, self._journal, self._prefix)
                over = disturbances.over
                at_work = [asyncio.create_task(self._operate(operators, n, over)) for n in range(plan.operators)]
                if plan.until_violation:
                    at_work.append(asyncio.create_task(self._look(over)))
                disturbing = asyncio.create_task(disturbances.disturb(engine))
                waiting = asyncio.create_task(over.wait())
                try:
                    await asyncio.wait({disturbing, waiting}, timeout=plan.seconds, return_when=asyncio.FIRST_COMPLETED)
                    self.report.reached = plan.goals is None or disturbing.done()
                finally:
                    # Cancelled, they might not hear of it: drivers swallow cancellations.
                    over.set()
                await asyncio.gather(disturbing, waiting, *at_work)
                self.report.disturbances = disturbances.counts
                self.report.refusals = disturbances.refusals
                self.report.violations += disturbances.problems
                if not self._found_out:
                    await crowd.close()
                self.report.born = crowd.born

    async def _operate(self, operators: Operators, number: int, over: asyncio.Event) -> None:
        rng = Random(f"{self._plan.seed}:operator:{number}")  # noqa: S311 - not a secret
        while not over.is_set():
            await operators.operate(rng)

    async def _look(self, over: asyncio.Event) -> None:
        """End it with the first violation that the tables show."""
        while not over.is_set():
            with suppress(SQLAlchemyError, OSError):
                if found := await violations(self._plan.url):
                    self.report.violations += found
                    over.set()
            await asyncio.sleep(_LOOK_EVERY)

    async def _finished(self) -> None:
        async with self._engine() as engine:
            operators = Operators(engine, self._journal, self._prefix, self._numbers)
            rng = Random(f"{self._plan.seed}:finish")  # noqa: S311 - not a secret
            if self._found_out:
                return
            stats = await engine.stats()
            self.report.unfinished = sum(stats.values()) - stats[WorkflowState.COMPLETED]
            self.report.violations += await finish(engine, operators, self._prefix, rng)
