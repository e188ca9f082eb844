"""Secrets: saved only as a reference, known only while a step runs."""

import os
from collections.abc import Callable, Iterator
from typing import Any, Self

import msgspec

from awfe.errors import ConfigError, InvalidInput

KEY = "$secret"
_LONGEST_NAME = 200


class Secret(msgspec.Struct, frozen=True):
    """A secret by its name: saved as `{"$secret": "NAME"}`, and looked up when a step runs.

    Give it where an argument of a step or a value of a context is a text. What the engine's `secrets` answers for the
    name is its text, by default what the environment has. Raises `InvalidInput` for what can't be a name.
    """

    name: str = msgspec.field(name=KEY)

    def __post_init__(self) -> None:
        """Refuse what can't be a name."""
        if type(self.name) is not str or not 0 < len(self.name) <= _LONGEST_NAME or not self.name.isprintable():
            msg = f"Secret({self.name!r:.60}): give a name of 1 to {_LONGEST_NAME} printable characters"
            raise InvalidInput(msg)


class Revealed(str):
    """The text of a secret, in a step that runs; where it is saved as it is, the reference is saved."""

    __slots__ = ("secret",)

    secret: Secret

    def __new__(cls, text: str, secret: Secret) -> Self:
        """Keep which secret it is."""
        made = super().__new__(cls, text)
        made.secret = secret
        return made

    def __repr__(self) -> str:
        """Name the secret instead of showing it."""
        return repr(self.secret)

    def __reduce__(self) -> Any:
        """Leave its text behind when it is copied to another process."""
        return Secret, (self.secret.name,)

    def __copy__(self) -> "Revealed":
        """Return itself."""
        return self

    def __deepcopy__(self, _memo: object) -> "Revealed":
        """Return itself."""
        return self


def from_environment(name: str) -> str | None:
    """Return the secret that the environment has under a name."""
    return os.environ.get(name)


def revealed(secret: Secret, answer: object) -> Revealed:
    """Return a secret with what a resolver answered; raises `ConfigError` when that can't be its text."""
    if answer is None:
        msg = (
            f"the secret {secret.name!r} is not set: set the environment variable of that name, or give the engine "
            "a function that knows it, as Engine(…, secrets=function)"
        )
        raise ConfigError(msg)
    if not isinstance(answer, str) or len(answer) < LEAST:
        what = f"{len(answer)} characters" if isinstance(answer, str) else f"a {type(answer).__name__}"
        msg = f"the secret {secret.name!r} is {what}; it must be a str of {LEAST} at least, to be masked in outputs"
        raise ConfigError(msg)
    return Revealed(answer, secret)


# A shorter one would mask every other word.
LEAST = 4


def replaced(value: Any, replace: Callable[[Secret], Any]) -> Any:
    """Return a value with something else in place of each secret; itself when it has none."""
    kind = type(value)
    if kind is Secret:
        return replace(value)
    if kind in (list, tuple):
        items = [replaced(item, replace) for item in value]
        return kind(items) if any(new is not old for new, old in zip(items, value, strict=True)) else value
    if kind is dict:
        changed = {key: replaced(item, replace) for key, item in value.items()}
        return changed if any(changed[key] is not item for key, item in value.items()) else value
    return value


def inside(value: Any) -> Iterator[Secret]:
    """Yield each secret of a value."""
    found: list[Secret] = []

    def note(secret: Secret) -> Secret:
        found.append(secret)
        return secret

    replaced(value, note)
    yield from found
