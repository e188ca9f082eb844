"""Checks of the context."""

from dataclasses import dataclass

from awfe.domain.context import Context
from awfe.domain.step import BaseStep
from awfe.errors import AwfeError
from awfe.steps.expressions import Expression, shown
from awfe.steps.templates import fill, parse


class AssertionFailed(AwfeError):
    """An `Assert` did not hold; the message shows the expression, and the values that it looked at."""


@dataclass
class Assert(BaseStep, name="awfe.Assert"):
    """Fail with `AssertionFailed` unless an expression over the context holds; `message`, a template, says what then.

    Names are keys of the context. There are comparisons, `and`, `or`, `not`, `in`, `is`, `x if y else z`,
    `+ - * / // %`, subscripts, literals, and functions: len, min, max, sum, all, any, abs, round, str, int, float,
    startswith, endswith, lower, upper, strip, keys, values, `exists('key.part')`, `get('key.part', default)`.
    """

    expression: str
    message: str | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be worked out."""
        Expression(self.expression)
        if self.message is not None:
            parse(self.message, "message")

    async def work(self, ctx: Context) -> None:
        """Work it out."""
        holds, seen = Expression(self.expression).work_out(ctx)
        if not holds:
            said = "" if self.message is None else f"{fill(parse(self.message, 'message'), ctx)}: "
            msg = f"{said}{self.expression} does not hold" + shown(seen)
            raise AssertionFailed(msg)
