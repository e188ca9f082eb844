"""A process that creates and runs workflows without end, to be killed, frozen and cut off."""

import asyncio
import logging
import os
import signal
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

from awfe.engine import Engine
from awfe.persistence import batch
from awfe.testing.chaos.answers import EXPECTED, described, note_completion
from awfe.testing.chaos.journal import Journal
from awfe.testing.chaos.operators import Operators
from awfe.testing.chaos.plan import GUARDS
from awfe.testing.chaos.steps import INITIAL, Work, steps

# Of so many things that a lane does, one is an operator's: else ever more workflows would wait for one.
_OPERATES: Final = (True, False, False)
_NUMBERS: Final = 1_000_000


@dataclass(frozen=True)
class Orders:
    """What a worker is told; `number` differs for each that is ever born in a chaos run."""

    url: str
    seed: int
    number: int
    prefix: str
    lanes: int
    settings: dict[str, Any]
    journal: str
    log: str
    guards: Sequence[str] = GUARDS


def main(orders: Orders) -> None:
    """Work until SIGTERM."""
    logging.basicConfig(level=logging.WARNING, format=f"%(asctime)s {os.getpid()} %(name)s %(message)s", force=True)
    if tuple(orders.guards) != GUARDS:
        take_out_guards(orders.guards)
    asyncio.run(Worker(orders).serve())


def take_out_guards(left: Collection[str]) -> None:
    """Let the writes of this process succeed whoever runs the workflow by now: a control for the checker."""
    batch.FENCE = tuple(name for name in batch.FENCE if name not in GUARDS or name in left)  # type: ignore[misc]  # that is what is taken out


class Worker:
    """An engine, and lanes that each run one workflow after the other."""

    def __init__(self, orders: Orders) -> None:
        """Nothing is connected yet."""
        self._orders = orders
        self._journal = Work.journal = Journal(Path(orders.journal))
        self._ended = asyncio.Event()
        self._nursery = os.getppid()

    async def serve(self) -> None:
        """Run workflows until SIGTERM, then close as a service does."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._ended.set)
        watch = asyncio.create_task(self._end_with_the_nursery())
        engine = Engine(self._orders.url, **self._orders.settings)
        await engine.open()
        self._journal.write("open")
        lanes = [asyncio.create_task(self._lane(engine, lane)) for lane in range(self._orders.lanes)]
        await self._ended.wait()
        await engine.close()
        await asyncio.gather(*lanes)
        watch.cancel()
        self._journal.write("closed")

    async def _end_with_the_nursery(self) -> None:
        while os.getppid() == self._nursery:  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(1)
        os._exit(1)

    async def _lane(self, engine: Engine, lane: int) -> None:
        orders = self._orders
        rng = Random(f"{orders.seed}:{orders.number}:{lane}")  # noqa: S311 - not a secret
        # Numbers that no other process and no other lane takes.
        numbers = count((orders.number * orders.lanes + lane + 1) * _NUMBERS)
        operators = Operators(engine, self._journal, orders.prefix, numbers)
        for n in count():
            if self._ended.is_set():
                return
            if rng.choice(_OPERATES):
                await operators.operate(rng)
                continue
            name = f"{orders.prefix}{orders.number}-{lane}-{n}"
            self._journal.write("create", workflow=name)
            try:
                await engine.create_workflow(name, INITIAL, steps(rng))
                self._journal.write("created", workflow=name)
                if rng.choice((True, False, False, False)):
                    handle = await engine.start(name)
                    note_completion(self._journal, await handle)
                else:
                    note_completion(self._journal, await engine.run(name))
            except EXPECTED:
                # Somebody else takes it up: another engine, or an operator.
                continue
            except Exception as error:  # noqa: BLE001 - what should never be raised is written down for the checker
                self._journal.write("broke", workflow=name, **described(error))
