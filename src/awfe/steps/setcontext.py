"""Changes of the context."""

from dataclasses import dataclass, field
from typing import Any

from awfe.domain.context import Context
from awfe.domain.step import BaseStep
from awfe.domain.values import check_key
from awfe.errors import InvalidInput
from awfe.steps.templates import parse, value_of


@dataclass
class SetContext(BaseStep, name="awfe.SetContext"):
    """Set values of the context, then remove the keys of `unset`.

    Texts in the values, also inside of lists and dicts, are templates; where a place is all of the text, the value
    keeps its type. All are worked out before the first is set.
    """

    values: dict[str, Any] = field(default_factory=dict)
    unset: Any = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse what could not be set."""
        if not isinstance(self.values, dict):
            msg = f"values={self.values!r:.100}: give a dict of keys to values"
            raise InvalidInput(msg)
        if not isinstance(self.unset, list | tuple):
            msg = f"unset={self.unset!r:.100}: give a list of keys"
            raise InvalidInput(msg)
        self.unset = list(self.unset)
        for key in (*self.values, *self.unset):
            check_key(key, "SetContext", InvalidInput)
        if both := sorted(set(self.values) & set(self.unset)):
            msg = f"SetContext: {both} would be set and removed"
            raise InvalidInput(msg)
        _each(self.values, lambda text: parse(text, "values"))

    async def work(self, ctx: Context) -> None:
        """Set them."""
        values = _each(self.values, lambda text: value_of(parse(text, "values"), ctx))
        ctx.update(values)
        for key in self.unset:
            ctx.pop(key, None)


def _each(value: Any, replace: Any) -> Any:
    """Return a value with something else in place of each text of it, but not of the keys."""
    if isinstance(value, dict):
        return {key: _each(item, replace) for key, item in value.items()}
    if isinstance(value, list):
        return [_each(item, replace) for item in value]
    return replace(value) if isinstance(value, str) else value
