"""The values of a context as they are saved, with what is asked of all of them kept beside them."""

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Final

from awfe.domain.values import mentions_secret

# The colon and the comma of a member, and the quotes of its key.
_AROUND: Final = 4


class Encoded(MutableMapping[str, bytes]):
    """Values under their keys, encoded, in the order in which they came.

    `size` is what they take, in bytes, about; `secretive` are the keys whose values may mention a secret. Both are
    looked for once, in what is no `Encoded` yet, and cost what is changed from then on: each attempt asks for them.
    """

    __slots__ = ("_values", "secretive", "size")

    def __init__(self, values: Mapping[str, bytes]) -> None:
        """Begin with a copy of these."""
        if isinstance(values, Encoded):
            self._values: dict[str, bytes] = values.plain()
            self.size: int = values.size
            self.secretive: frozenset[str] = values.secretive
            return
        self._values = dict(values)
        self.size = size_of(self._values)
        self.secretive = frozenset(key for key, data in self._values.items() if mentions_secret(data))

    def __getitem__(self, key: str) -> bytes:
        """Return a value."""
        return self._values[key]

    def __setitem__(self, key: str, data: bytes) -> None:
        """Set a value."""
        self._forget(key)
        self._values[key] = data
        self.size += len(key) + len(data) + _AROUND
        if mentions_secret(data):
            self.secretive |= {key}

    def __delitem__(self, key: str) -> None:
        """Remove a value."""
        self._forget(key)
        del self._values[key]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys."""
        return iter(self._values)

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        """Tell whether a key is set."""
        return key in self._values

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value, or another where there is none."""
        return self._values.get(key, default)

    def _forget(self, key: str) -> None:
        if (old := self._values.get(key)) is not None:
            self.size -= len(key) + len(old) + _AROUND
            if key in self.secretive:
                self.secretive -= {key}

    def plain(self) -> dict[str, bytes]:
        """Return a copy as a dict."""
        return self._values.copy()


def size_of(values: Mapping[str, bytes]) -> int:
    """Return the encoded size of a context in bytes, about."""
    return sum(len(key) + len(data) + _AROUND for key, data in values.items())
