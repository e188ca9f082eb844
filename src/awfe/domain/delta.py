"""A change of a context: keys that were set, and keys that went."""

from collections.abc import Container, Iterable, Mapping, MutableMapping
from typing import Any

import msgspec

from awfe.domain.values import check_key, encode
from awfe.errors import ContextError


class Delta(msgspec.Struct, frozen=True, gc=False):
    """A change of the context: keys that went, then keys that were set, both in their order."""

    set: dict[str, msgspec.Raw] = {}
    unset: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether anything changed."""
        return bool(self.set or self.unset)

    @property
    def encoded(self) -> dict[str, bytes]:
        """The values that were set, encoded."""
        return {key: bytes(raw) for key, raw in self.set.items()}

    def then(self, later: "Delta") -> "Delta":
        """Return both as one change."""
        if not self:
            return later
        kept = {k: v for k, v in self.set.items() if k not in later.unset}
        return Delta({**kept, **later.set}, tuple(dict.fromkeys(self.unset + later.unset)))

    def without(self, keys: Container[str]) -> "Delta":
        """Return the change but for some keys."""
        kept = {key: raw for key, raw in self.set.items() if key not in keys}
        return Delta(kept, tuple(key for key in self.unset if key not in keys))

    def apply(self, values: MutableMapping[str, bytes]) -> None:
        """Make the change in a context of encoded values."""
        for key in self.unset:
            values.pop(key, None)
        for key, raw in self.set.items():
            values[key] = bytes(raw)

    @classmethod
    def of(cls, values: Mapping[str, Any], unset: Iterable[str] = (), where: str = "context") -> "Delta":
        """Return the change that sets and unsets these keys; raises `ContextError` with the path of a bad value."""
        if not isinstance(values, Mapping):
            msg = f"{where}: a {type(values).__qualname__} is not a mapping of keys to values"
            raise ContextError(msg)
        if not isinstance(unset, Iterable):
            msg = f"unset={unset!r:.60}: give the keys to remove"
            raise ContextError(msg)
        unset = (unset,) if isinstance(unset, str) else tuple(unset)
        for key in (*values, *unset):
            check_key(key, where)
        return cls({k: msgspec.Raw(encode(v, f"{where}[{k!r}]")) for k, v in values.items()}, unset)


NO_CHANGE = Delta()


def too_large(size: int, limit: int) -> ContextError:
    """Return the refusal of a context that is too large."""
    return ContextError(f"the context takes {size} bytes, more than max_context_bytes={limit}")
