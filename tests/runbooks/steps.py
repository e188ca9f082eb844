"""What the runbooks of the tests name."""

from dataclasses import dataclass
from typing import Literal

from awfe import BaseStep, Context, InvalidInput, TransactionalStep


@dataclass
class Backup(BaseStep, name="tests.runbooks.Backup"):
    target: str
    keep: int = 3
    ratio: float = 0.5

    def __post_init__(self) -> None:
        if self.keep < 1:
            msg = f"keep={self.keep}: keep at least one"
            raise InvalidInput(msg)

    async def work(self, ctx: Context) -> None:
        ctx["backup"] = f"{self.target} {self.keep}"


@dataclass
class Typed(BaseStep, name="tests.runbooks.Typed"):
    when: "Unknown"  # type: ignore[name-defined]  # noqa: F821 - as of a name that only type checkers import

    async def work(self, ctx: Context) -> None:
        ctx["when"] = self.when


@dataclass
class Several(BaseStep, name="tests.runbooks.Several"):
    levels: dict[str, int | None]
    color: Literal["red", "green"] = "red"

    async def work(self, ctx: Context) -> None:
        ctx["levels"] = self.levels


class Unwritten(BaseStep, name="tests.runbooks.Unwritten"):
    """A step without its work."""


class Bare(BaseStep, name="tests.runbooks.Bare"):
    async def work(self, ctx: Context) -> None:
        ctx["bare"] = True


class Written(TransactionalStep, name="tests.runbooks.Written"):
    async def work(self, ctx: Context, session: object) -> None:
        """Do nothing."""


async def greet(ctx: Context, who: str) -> None:
    ctx["greeting"] = f"hello {who}"


def count(ctx: Context) -> None:
    ctx["count"] = 1
