"""Operators: they do something to workflows that they chose at random, and write down what came of it.

The reason that they give is a number of its own for each thing that they ask, so the history shows what was done.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import Any, Final

from awfe.domain.records import Workflow
from awfe.engine import Engine
from awfe.errors import InvalidInput, InvalidState, WorkflowLocked
from awfe.testing.chaos.answers import EXPECTED, described, note_completion
from awfe.testing.chaos.journal import Journal

# How often an operator looks at workflows in a state, and what he then does how often.
_STATES: Final = {"error": 8, "stopped": 5, "paused": 5, "running": 4, "pending": 1, "completed": 1}
_VERBS: Final = {
    "error": {"restart": 8, "reset": 2, "skip": 2, "update_context": 2, "restart_from": 2, "run": 1},
    "stopped": {"restart": 8, "reset": 2, "skip": 2, "update_context": 2, "restart_from": 2, "run": 2, "stop": 1},
    "paused": {"run": 8, "skip": 2, "update_context": 2, "restart_from": 2, "reset_from": 1, "pause": 1},
    "running": {"pause": 6, "stop": 6, "reset": 1, "skip": 1, "update_context": 1, "run": 1},
    "pending": {"run": 4, "update_context": 4, "skip": 2, "stop": 1},
    "completed": {"restart_from": 6, "reset_from": 2, "update_context": 1, "run": 1},
}
_PAGE: Final = 50
_PAUSE: Final = 0.05


class Operators:
    """What operators do through one engine."""

    def __init__(self, engine: Engine, journal: Journal, prefix: str, numbers: Iterator[int]) -> None:
        """`prefix`: that of the names of the workflows that they may touch."""
        self._engine = engine
        self._journal = journal
        self._prefix = prefix
        self._numbers = numbers

    async def operate(self, rng: Random) -> None:
        """Do one thing to one workflow."""
        name, state = await self._choose(rng)
        if name is not None:
            verbs = _VERBS[state]
            await self.do(rng.choices(list(verbs), list(verbs.values()))[0], name, rng)
        await asyncio.sleep(rng.random() * _PAUSE)

    async def _choose(self, rng: Random) -> tuple[str | None, str]:
        state = rng.choices(list(_STATES), list(_STATES.values()))[0]
        try:
            found = await self._engine.list(state, self._prefix, _PAGE)
        except EXPECTED:
            return None, state
        return (rng.choice(found).name, state) if found else (None, state)

    async def do(self, verb: str, name: str, rng: Random) -> None:
        """Do one thing, and write down what was asked before it is, and what came of it."""
        number = next(self._numbers)
        about = {"number": number, "verb": verb, "workflow": name}
        self._journal.write("ask", **about)
        try:
            result = await self._call(verb, name, str(number), rng)()
        except (WorkflowLocked, InvalidState, InvalidInput) as error:
            self._journal.write("refused", error=type(error).__name__, **about)
        except EXPECTED as error:
            self._journal.write("cut short", error=type(error).__name__, **about)
        except Exception as error:  # noqa: BLE001 - what should never be raised is written down for the checker
            self._journal.write("broke", **described(error), **about)
        else:
            self._journal.write("done", **about)
            if result is not None and verb in ("run", "restart", "restart_from"):
                note_completion(self._journal, result)

    def _call(self, verb: str, name: str, reason: str, rng: Random) -> Callable[[], Awaitable[Workflow | None]]:
        engine = self._engine
        by: dict[str, Any] = {"actor": "chaos", "reason": reason}
        mark = {f"operator{reason}": verb}
        first = rng.randint(1, 4)
        kept = rng.choice((False, False, True))
        grace = rng.choice((None, 0.0, 0.1))
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "run": lambda: engine.run(name, **by),
            "pause": lambda: engine.pause(name, **by),
            "stop": lambda: engine.stop(name, grace, **by),
            "reset": lambda: engine.reset(name, keep_context=kept, context=mark, **by),
            "reset_from": lambda: engine.reset(name, first, context=mark, **by),
            "restart": lambda: engine.restart(name, keep_context=kept, **by),
            "restart_from": lambda: engine.restart(name, first, **by),
            "skip": lambda: engine.skip(name, context=mark, **by),
            "update_context": lambda: engine.update_context(name, mark, [f"operator{rng.randrange(99)}"], **by),
        }
        return calls[verb]
