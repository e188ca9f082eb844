"""What the runbooks of the tests name."""

from dataclasses import dataclass

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
