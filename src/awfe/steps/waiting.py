"""Steps that wait: for a time, and for somebody's approval."""

from dataclasses import dataclass, field

from awfe.domain.context import Context
from awfe.domain.step import BaseStep
from awfe.domain.values import check_key
from awfe.domain.waits import Approving, Sleep, seconds
from awfe.errors import InvalidInput
from awfe.steps.templates import fill, parse


@dataclass
class Delay(BaseStep, name="awfe.Delay"):
    """Wait so many seconds; the workflow holds nothing meanwhile. Raises `InvalidInput` for what is no time."""

    seconds: float
    on_interrupt = "rerun"

    def __post_init__(self) -> None:
        """Refuse what is no time."""
        seconds("Delay(seconds", self.seconds)

    async def work(self, ctx: Context) -> Sleep:  # noqa: ARG002 - every step gets it
        """Sleep."""
        return Sleep(self.seconds)


@dataclass
class Approval(BaseStep, name="awfe.Approval"):
    """Ask people for approval, and wait for `engine.approve` or `engine.reject`; the workflow holds nothing meanwhile.

    `prompt`, a template, is printed as the step's output. `of` are the actors who may answer, anybody where it is None.
    After `expires` seconds the step fails with `StepTimeout`; rejected it fails, too. Who, when and why are in the
    history, and with `save_as` in the context: `actor`, `comment` and `at`. Raises `InvalidInput`.
    """

    prompt: str
    of: list[str] | None = field(default=None, kw_only=True)
    expires: float | None = field(default=None, kw_only=True)
    save_as: str | None = field(default=None, kw_only=True)
    # To ask once more does no harm.
    on_interrupt = "rerun"

    def __post_init__(self) -> None:
        """Refuse what could not be asked."""
        parse(self.prompt, "prompt")
        if self.of is not None and not _are_actors(self.of):
            msg = f"of={self.of!r:.100}: give a list of actors, or None for anybody"
            raise InvalidInput(msg)
        if self.expires is not None:
            seconds("expires", self.expires)
        if self.save_as is not None:
            check_key(self.save_as, "save_as", InvalidInput)

    async def work(self, ctx: Context) -> Approving:
        """Ask."""
        ctx.output(fill(parse(self.prompt, "prompt"), ctx) + "\n")
        return Approving(f"awfe.approval.{ctx.step.key}", tuple(self.of or ()), self.expires, self.save_as)


def _are_actors(given: object) -> bool:
    return isinstance(given, list) and bool(given) and all(isinstance(each, str) and each for each in given)
