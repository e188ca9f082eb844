"""Who may come in: verbs only while the engine is open, and it is not taken down under one that is inside."""

import asyncio

from awfe.errors import EngineNotOpen


class Gate:
    """Counts the verbs that are under way: each is within `with gate`."""

    def __init__(self) -> None:
        """Begin closed."""
        self.is_open = False
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()

    def check(self) -> None:
        """Raise `EngineNotOpen` when the engine is not open, or is closing."""
        if not self.is_open:
            msg = "the engine is not open: use 'async with Engine(…) as engine', or await engine.open()"
            raise EngineNotOpen(msg)

    def __enter__(self) -> None:
        """Let a verb in, or raise `EngineNotOpen`."""
        self.check()
        self._inside += 1
        self._empty.clear()

    def __exit__(self, *_error: object) -> None:
        """Let it out."""
        self._inside -= 1
        if not self._inside:
            self._empty.set()

    async def emptied(self) -> None:
        """Return when no verb is under way."""
        await self._empty.wait()
