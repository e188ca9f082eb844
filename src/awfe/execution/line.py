"""The line before the places of an engine: first come, first served."""

import asyncio
from collections import deque


class Line:
    """A bounded number of places; who stands in line holds nothing else."""

    def __init__(self, places: int) -> None:
        """Begin with so many free places."""
        self._free = places
        self._waiting: deque[asyncio.Future[bool]] = deque()

    def join(self) -> asyncio.Future[bool]:
        """Return a future that tells True when it is one's turn, or False when one was taken out."""
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if self._free > 0:
            self._free -= 1
            turn.set_result(True)
        else:
            self._waiting.append(turn)
        return turn

    def squeeze_in(self) -> asyncio.Future[bool]:
        """Take a place at once, one too many where none is free: for what belongs to a run that has one."""
        self._free -= 1
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        turn.set_result(True)
        return turn

    def leave(self, turn: asyncio.Future[bool]) -> bool:
        """Take somebody out of the line; False when it was his turn already."""
        if turn.done():
            return False
        self._waiting.remove(turn)
        turn.set_result(False)
        return True

    def give_back(self) -> None:
        """Free a place, for the first in line."""
        while self._waiting and self._free >= 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(True)
                return
        self._free += 1
