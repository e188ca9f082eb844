"""What a step has done of its items, kept so that a restart does only the rest."""

import asyncio
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import msgspec

from awfe.domain.context import Context

_LONGEST = 100


def labels(items: Iterable[Any]) -> list[str]:
    """Name each item: a text by itself, all else by its JSON; one that was there before gets a number.

    Items that were done are found again by these names, also in a list that somebody has changed meanwhile.
    """
    named: dict[str, None] = {}
    for item in items:
        text = item if isinstance(item, str) else msgspec.json.encode(item).decode()
        if len(text) > _LONGEST:
            text = f"{text[:_LONGEST]}… {digest(text)}"
        label, number = text, 1
        while label in named:
            number += 1
            label = f"{text} #{number}"
        named[label] = None
    return list(named)


def digest(text: str) -> str:
    """Return a short text that stands for a long one."""
    return blake2b(text.encode(), digest_size=8).hexdigest()


class Progress:
    """The results of items so far, each under a key of the context, `name[label]`.

    A key for each, since saving one then costs what it weighs; and an operator sees them, sets one for what was done by
    hand, or removes one that is to be done again.
    """

    def __init__(self, ctx: Context, name: str | None) -> None:
        """Go on with what the context has; without a name it is made from the step's, which is unique."""
        self._ctx = ctx
        self._name = name or f"{ctx.step.name}@{ctx.step.position}"
        self._lock = asyncio.Lock()
        self._changes = self._saved = 0

    def __contains__(self, label: str) -> bool:
        """Tell whether an item is done."""
        return self.key(label) in self._ctx

    def result(self, label: str) -> Any:
        """Return the result of an item, or None when it is not done."""
        return self._ctx.get(self.key(label))

    def key(self, label: str) -> str:
        """Return the key of the context that says that an item is done."""
        return f"{self._name}[{label}]"

    def part_key(self, label: str) -> str:
        """Return the key of what an item has saved that is not done yet."""
        return f"{self.key(label)} so far"

    @property
    def keys(self) -> list[str]:
        """The keys of the context that it uses now, those of items that are not in the list any more included."""
        return [key for key in self._ctx if key.startswith(f"{self._name}[")]

    async def add(self, label: str, result: Any) -> None:
        """Save the result of an item."""
        self._ctx[self.key(label)] = result
        self._ctx.pop(self.part_key(label), None)
        await self.save()

    async def add_part(self, label: str, part: Any) -> None:
        """Save what an item wants to begin with after a restart."""
        self._ctx[self.part_key(label)] = part
        await self.save()

    async def save(self) -> None:
        """Checkpoint; items that are done at the same time share one."""
        self._changes += 1
        mine = self._changes
        async with self._lock:
            if self._saved < mine:
                now = self._changes
                await self._ctx.checkpoint()
                self._saved = now

    def clear(self) -> None:
        """Remove its keys from the context: the step is done."""
        for key in self.keys:
            del self._ctx[key]
