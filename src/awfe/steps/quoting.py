"""Templates of shell commands: where a value may stand, and how it gets there.

A value never becomes text of the script. It is handed to `sh` beside the script, and stands in it as a quoted variable:
so it is data for the shell, whatever it holds and whatever this module misread. A place where a variable would be
something else, or where a second shell would read it, is refused when the step is made.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from awfe.domain.context import Context
from awfe.errors import ContextError, InvalidInput
from awfe.steps.templates import Parts, Place, look_up, parse, text_of, word, words

_BREAKS = " \t\n;|&()"
_PLAIN, _PAREN = "", "$("
_REASONS = {
    "'": "stands inside single quotes: leave them out, it is quoted as one word",
    '"': "stands inside double quotes: leave them out, it is quoted as one word",
    "`": "stands inside backticks: write $(…)",
    "${": "stands inside ${…}: set a variable to it first",
    "$((": "stands inside $((…)): set a variable to it first",
}
_COMMENT = "stands in a comment"
_HERE = "stands after <<: give the text as input="
_AFTER = {"\\": "stands after a backslash: leave that out", "$": "stands after a $: write ${{NAME}} for a variable"}


@dataclass(frozen=True, slots=True)
class Script:
    """A shell command with places for values; `alone` tells of each place whether it is a whole word."""

    parts: Parts
    alone: list[bool]

    @classmethod
    def of(cls, template: str) -> "Script":
        """Read a template; raises `InvalidInput` for a place where no value can stand safely."""
        parts = parse(template, "command")
        tokens: list[str | Place] = []
        for part in parts:
            tokens += [part] if isinstance(part, Place) else str(part)
        return cls(parts, _Reader(tokens).read())

    def arguments(self, ctx: Context) -> list[str]:
        """Return the arguments of `sh`; raises `ContextError` for a value that is missing or can't stand there."""
        text: list[str] = []
        values: list[str] = []
        alone = iter(self.alone)
        for part in self.parts:
            if not isinstance(part, Place):
                text.append(str(part))
                continue
            value = look_up(ctx, part)
            given = words(value, part) if next(alone) else [word(value, part)]
            names = range(len(values) + 1, len(values) + 1 + len(given))
            text.append(" ".join(f'"${{_awfe_{n}}}"' for n in names))
            values += given
        script = "".join(text)
        if not values:
            return ["-c", script]
        taken = " ".join(f"_awfe_{n}=${{{n}}}" for n in range(1, len(values) + 1))
        return ["-c", f"{taken}; shift {len(values)}; {script}", "sh", *values]


def plain_words(items: Sequence[Parts], ctx: Context) -> list[str]:
    """Return the words of a command that no shell reads; a list that stands alone becomes several."""
    found: list[str] = []
    for parts in items:
        if len(parts) == 1 and isinstance(part := parts[0], Place):
            found += words(look_up(ctx, part), part)
        else:
            found.append("".join(text_of(part, ctx) for part in parts))
    return found


def encoded(texts: Sequence[str], what: str) -> list[bytes]:
    """Return texts as a process gets them; raises `ContextError` for a NUL, which ends each text there."""
    for text in texts:
        if "\0" in text:
            msg = f"{what}: a value has a NUL, which can't be handed to a process; give it as input="
            raise ContextError(msg)
    return [text.encode() for text in texts]


class _Reader:
    """Follows the quotes of a script, and refuses places in the wrong ones."""

    def __init__(self, tokens: list[str | Place]) -> None:
        self._tokens = tokens
        self._at = 0
        self._inside = [_PLAIN]
        self._comment = self._here = False
        # The character before, unless it was escaped.
        self._before = ""

    def read(self) -> list[bool]:
        """Return of each place whether it is a whole word."""
        alone = []
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            if isinstance(token, Place):
                self._check(token)
                alone.append(self._breaks(-1) and self._breaks(1))
                self._before = ""
                self._at += 1
            else:
                read = self._step(token)
                self._before = token if read == 1 else ""
                self._at += read
        return alone

    def _check(self, place: Place) -> None:
        reason = _REASONS.get(self._inside[-1]) or _AFTER.get(self._before)
        if self._comment:
            reason = _COMMENT
        elif self._here:
            reason = _HERE
        if reason:
            msg = f"command: {place.text} {reason}"
            raise InvalidInput(msg)

    def _peek(self, offset: int) -> str | Place | None:
        at = self._at + offset
        return self._tokens[at] if 0 <= at < len(self._tokens) else None

    def _breaks(self, offset: int) -> bool:
        near = self._peek(offset)
        return near is None or (isinstance(near, str) and near in _BREAKS)

    def _is(self, text: str) -> bool:
        return self._tokens[self._at : self._at + len(text)] == list(text)

    def _step(self, char: str) -> int:
        """Take a character in; return how many were read."""
        top = self._inside[-1]
        if self._comment:
            self._comment = char != "\n"
            return 1
        if top in ("'", "`") and (char != "\\" or top == "'"):
            return self._close_at(top, char)
        if char == "\\":
            # What follows is no longer special; a place there is refused by what stands before it.
            return 1 if isinstance(self._peek(1), Place) else 2
        opened = self._open()
        if opened or top == '"':
            return opened or self._close_at('"', char)
        return self._unquoted(top, char)

    def _open(self) -> int:
        for opening, count in (("$((", 2), ("$(", 1), ("${", 1), ("`", 1)):
            if self._is(opening):
                self._inside += [opening] * count
                return len(opening)
        return 0

    def _close_at(self, closing: str, char: str) -> int:
        if char == closing:
            self._inside.pop()
        return 1

    def _unquoted(self, top: str, char: str) -> int:
        if char in ("'", '"'):
            self._inside.append(char)
        elif top == "${":
            return self._close_at("}", char)
        elif char == "(":
            self._inside.append("$((" if top == "$((" else _PAREN)
        elif char == ")":
            if top:
                self._inside.pop()
        elif top != "$((":
            self._here = self._here or self._is("<<")
            self._comment = char == "#" and self._breaks(-1)
        return 1
