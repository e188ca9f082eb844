"""A program whose code goes on, while its workflows stay."""

from collections.abc import Iterator
from typing import Any

import pytest

from awfe.domain import registry

_MODULE = "evolving_app"


class Program:
    """Classes of steps from a text: each `deploy` is a new process, that knows nothing of those before."""

    def deploy(self, code: str) -> None:
        """Define what the text defines, and forget all else."""
        self.end()
        namespace: dict[str, Any] = {"__name__": _MODULE}
        exec(f"from dataclasses import asdict, dataclass\nfrom awfe import BaseStep, step\n{code}", namespace)  # noqa: S102 - of a test
        self._defined = namespace

    def __getattr__(self, name: str) -> Any:
        """Return a class by its name."""
        return self._defined[name]

    @staticmethod
    def end() -> None:
        """Forget its classes."""
        for name, cls in tuple(registry._classes.items()):
            if cls.__module__ == _MODULE:
                del registry._classes[name]


@pytest.fixture
def program() -> Iterator[Program]:
    """Yield a program."""
    program = Program()
    yield program
    program.end()
