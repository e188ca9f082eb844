"""A context with a recorder in the place of an attempt, and beside an ordinary dict."""

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import msgspec
import pytest

from awfe.domain.context import Context
from awfe.domain.delta import Delta
from awfe.domain.secret import Revealed, Secret
from awfe.domain.values import decode, encode
from tests.unit.strategies import same


class Recorder:
    """What an attempt offers to its context: this one remembers."""

    def __init__(self) -> None:
        """Begin with nothing printed and nothing saved."""
        self.printed: list[str] = []
        self.saved: list[Delta] = []
        self.children: list[tuple[Any, ...]] = []
        self.stop_requested = False
        self.log = logging.getLogger("recorder")

    def child(self, name: str, context: Mapping[str, Any], steps: Sequence[Any]) -> Awaitable[Any]:
        """Remember a workflow of the step's."""
        self.children.append((name, context, steps))
        return asyncio.sleep(0, name)

    def undo_child(self, name: str) -> Awaitable[None]:
        """Remember one that was rolled back."""
        self.children.append((name,))
        return asyncio.sleep(0)

    def output(self, text: str) -> None:
        """Remember a text."""
        self.printed.append(text)

    def secret(self, secret: Secret) -> Revealed:
        """Know the texts of all secrets."""
        return Revealed(f"the text of {secret.name}", secret)

    def inspect(self, delta: Delta) -> None:
        """Let all changes pass."""

    def checkpoint(self, ctx: Context) -> Awaitable[None]:
        """Remember a change."""
        self.saved.append(ctx.collect())
        ctx.commit(self.saved[-1])
        return asyncio.sleep(0)


def encoded(plain: dict[str, Any]) -> dict[str, bytes]:
    """Return values as the log keeps them."""
    return {key: encode(value, key) for key, value in plain.items()}


def decoded(saved: dict[str, bytes]) -> dict[str, Any]:
    """Return values as a reader gets them."""
    return {key: decode(data) for key, data in saved.items()}


def mutate(value: Any, addition: Any, *, deeper: bool) -> None:
    """Change a list or a dict in place, or one inside of it; other values can't be changed."""
    inside = list(value.values() if isinstance(value, dict) else value) if isinstance(value, (dict, list)) else []
    inner = [each for each in inside if isinstance(each, (dict, list))]
    if deeper and inner:
        mutate(inner[0], addition, deeper=True)
    elif isinstance(value, list):
        value.append(deepcopy(addition))
    elif isinstance(value, dict):
        value["new"] = deepcopy(addition)


class Pair:
    """A context beside an ordinary dict, with the same done to both; what it saves goes to `saved`."""

    def __init__(self, start: dict[str, Any]) -> None:
        """Begin with the same values in both."""
        self.model = deepcopy(start)
        self.saved = encoded(start)
        self.ctx = Context.attached(self.saved, Recorder())
        self.kept: list[tuple[Any, Any]] = []

    def do(self, what: str, key: str, value: Any) -> None:
        """Do one thing to both."""
        if what == "set":
            self.ctx[key] = value
            self.model[key] = deepcopy(value)
        elif what == "setdefault":
            assert same(self.ctx.setdefault(key, value), self.model.setdefault(key, deepcopy(value)))
        elif what == "checkpoint":
            self.save()
        elif what == "mutate what was kept":
            for mine, model in self.kept:
                mutate(mine, value, deeper=False)
                mutate(model, value, deeper=False)
        elif key in self.model:
            self._do_to_what_is_there(what, key, value)
        else:
            assert key not in self.ctx
            with pytest.raises(KeyError):
                del self.ctx[key]

    def _do_to_what_is_there(self, what: str, key: str, value: Any) -> None:
        if what == "delete":
            del self.ctx[key], self.model[key]
        elif what == "pop":
            assert same(self.ctx.pop(key), self.model.pop(key))
        elif what == "move to the end":
            self.ctx[key] = self.ctx.pop(key)
            self.model[key] = deepcopy(self.model.pop(key))
        elif what == "keep":
            self.kept.append((self.ctx[key], self.model[key]))
        else:
            mutate(self.ctx[key], value, deeper=what == "mutate deeper")
            mutate(self.model[key], value, deeper=what == "mutate deeper")

    def save(self) -> Delta:
        """Save what has changed, as a checkpoint does; the change goes through JSON as it does on its way to a row."""
        delta = self.ctx.collect()
        self.ctx.commit(delta)
        msgspec.json.decode(msgspec.json.encode(delta), type=Delta).apply(self.saved)
        return delta
