"""Secrets of running steps: looked up before a step begins, masked in whatever leaves it, kept out of what is saved."""

import copy
import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from awfe.domain.delta import Delta
from awfe.domain.encoded import Encoded
from awfe.domain.outcomes import ErrorInfo
from awfe.domain.secret import LEAST, Revealed, Secret, from_environment, inside, replaced, revealed
from awfe.domain.step import BaseStep
from awfe.domain.values import decode, encode
from awfe.errors import ConfigError, ContextError

Resolver = Callable[[str], str | Awaitable[str | None] | None]
MASK = "***"
_LEAST_LINE = 8
_MOST = 10_000
_SHOWN = ("filename", "filename2", "strerror", "text", "msg")


class Secrets:
    """The secrets of one engine: how they are looked up, and all texts that were found."""

    def __init__(self, resolver: Resolver | None = None) -> None:
        """Look them up with a function of the name, async or not; by default in the environment."""
        if resolver is not None and not callable(resolver):
            msg = f"secrets={resolver!r:.100}: give a function of the name of a secret, async or not"
            raise ConfigError(msg)
        self.resolver: Resolver = resolver or from_environment
        self._texts: dict[str, None] = {}
        self._pattern: re.Pattern[str] | None = None

    def __bool__(self) -> bool:
        """Tell whether there is something to mask."""
        return bool(self._texts)

    def note(self, text: str) -> None:
        """Mask a text from now on, in the forms in which it may be printed too."""
        texts = [text, *(line.strip() for line in text.splitlines() if len(line.strip()) >= _LEAST_LINE)]
        for each in texts:
            forms = (each, encode(each, "").decode()[1:-1], json.dumps(each)[1:-1], repr(each)[1:-1])
            for form in (*forms, quote(each), quote(each, safe=""), each.replace("'", "'\\''")):
                if len(form) >= LEAST and form not in self._texts:
                    self._texts[form] = None
                    self._pattern = None
        while len(self._texts) > _MOST:
            del self._texts[next(iter(self._texts))]

    def mask(self, text: str) -> str:
        """Return a text with stars in place of secrets."""
        return self._compiled().sub(MASK, text) if self._texts else text

    def begun_in(self, text: str) -> int:
        """Return where at the end of a text a secret may have begun, whose rest is to come; its length if nowhere."""
        cut = len(text)
        for each in self._texts:
            at = text.find(each[0], max(0, len(text) - len(each) + 1))
            while 0 <= at < cut and not each.startswith(text[at:]):
                at = text.find(each[0], at + 1)
            cut = min(cut, at) if at >= 0 else cut
        whole = (found.span() for found in self._compiled().finditer(text)) if cut < len(text) else ()
        return next((begin for begin, end in whole if begin < cut < end), cut)

    def _compiled(self) -> re.Pattern[str]:
        if self._pattern is None:
            self._pattern = re.compile("|".join(map(re.escape, sorted(self._texts, key=len, reverse=True))))
        return self._pattern

    def hide(self, error: BaseException) -> BaseException:
        """Mask an exception, and all that led to it, in place; where that does not help, return another one."""
        if not self._texts:
            return error
        waiting, seen = [error], set[int]()
        while waiting:
            each = waiting.pop()
            if id(each) in seen:
                continue
            seen.add(id(each))
            self._hide_in(each)
            nested = each.exceptions if isinstance(each, BaseExceptionGroup) else ()
            waiting += [one for one in (each.__cause__, each.__context__, *nested) if one is not None]
        info = ErrorInfo.of(error)
        if self.mask(info.message) == info.message and self.mask(info.traceback) == info.traceback:
            return error
        kind = type(error)
        about = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
        other: BaseException = type(kind.__name__, (Exception,), about)(self.mask(info.message))
        return other

    def _hide_in(self, error: BaseException) -> None:
        with suppress(Exception):
            error.args = self._masked(error.args)
        for name in (*vars(error), *_SHOWN):
            with suppress(Exception):
                value = getattr(error, name)
                if (masked := self._masked(value)) is not value:
                    setattr(error, name, masked)

    def _masked(self, value: Any) -> Any:
        if isinstance(value, str):
            masked = self.mask(value)
            return value if masked == value else masked
        if type(value) in (list, tuple):
            return type(value)(map(self._masked, value))
        if type(value) is dict:
            return {key: self._masked(item) for key, item in value.items()}
        return value

    def described(self, error: BaseException) -> ErrorInfo:
        """Describe an exception, masked."""
        info = ErrorInfo.of(error)
        return ErrorInfo(info.type, self.mask(info.message), self.mask(info.traceback)) if self._texts else info

    def hide_logged(self, msg: Any, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, tuple[Any, ...]]:
        """Return what may be logged; masks the options in place."""
        if not self._texts:
            return msg, args
        text = str(msg)
        with suppress(TypeError, ValueError, KeyError):
            text, args = (
                text % (args[0] if len(args) == 1 and isinstance(args[0], dict) else args) if args else text,
                (),
            )
        if (error := _logged(options.get("exc_info"))) is not None:
            options["exc_info"] = self.hide(error)
        if options.get("extra"):
            options["extra"] = self._masked(dict(options["extra"]))
        # What has no args is not formatted again.
        return self.mask(text), args


class Keyring:
    """The secrets of one attempt."""

    def __init__(self, secrets: Secrets) -> None:
        """Begin without one."""
        self._secrets = secrets
        self._found: dict[str, Revealed | ConfigError] = {}
        self._held = ""

    async def open_for(self, step: BaseStep, values: Encoded) -> BaseStep:
        """Look up what a step and its context refer to; return the step with the texts in its arguments.

        Raises `ConfigError` for what an argument refers to; for the context's it is raised when the value is read.
        """
        kind: Any = type(step)
        names = _fields_of(kind)
        if not names and not values.secretive:
            return step
        given = {name: getattr(step, name, None) for name in names}
        if given:
            await self._look_up(inside(list(given.values())))
        if values.secretive:
            await self._look_up(found for key in sorted(values.secretive) for found in inside(decode(values[key])))
        shown = {name: replaced(value, self.secret) for name, value in given.items()}
        changed = {name: value for name, value in shown.items() if value is not given[name]}
        if not changed:
            return step
        clone = copy.copy(step)
        for name, value in changed.items():
            object.__setattr__(clone, name, value)
        return clone

    async def _look_up(self, wanted: Iterable[Secret]) -> None:
        for secret in wanted:
            if secret.name not in self._found:
                try:
                    answer = self._asked(secret)
                    self._keep(secret, await answer if inspect.isawaitable(answer) else answer)
                except ConfigError as error:
                    self._found[secret.name] = error
                except Exception as error:  # noqa: BLE001 - of a user's function, told when the secret is wanted
                    self._found[secret.name] = _unanswered(secret, error)

    def _asked(self, secret: Secret) -> object:
        return self._secrets.resolver(secret.name)

    def _keep(self, secret: Secret, answer: object) -> None:
        text = revealed(secret, answer)
        self._secrets.note(str(text))
        self._found[secret.name] = text

    def secret(self, secret: Secret) -> Revealed:
        """Return the text of a secret; raises `ConfigError`."""
        if secret.name not in self._found:
            # Made by the step itself.
            answer = self._asked(secret)
            if inspect.isawaitable(answer):
                if inspect.iscoroutine(answer):
                    answer.close()
                msg = f"the secret {secret.name!r} is looked up when a step begins: it can be read in the next one"
                raise ConfigError(msg)
            self._keep(secret, answer)
        found = self._found[secret.name]
        if isinstance(found, ConfigError):
            raise found
        return found

    def refuse_texts(self, delta: Delta) -> None:
        """Refuse a change that holds the text of a secret; raises `ContextError`."""
        for key, raw in delta.set.items() if self._secrets else ():
            text = bytes(raw).decode()
            if self._secrets.mask(text) != text or self._secrets.mask(key) != key:
                where = f"context[{self._secrets.mask(key)!r}]"
                msg = f"{where} holds the text of a secret; keep Secret(…) there, or nothing that is made of its text"
                raise ContextError(msg)

    def passed(self, text: str, *, last: bool = False) -> str:
        """Return what may be printed now; what may be the beginning of a secret is held back for what comes next."""
        text = self._held + text
        if not text:
            return text
        cut = len(text) if last else self._secrets.begun_in(text)
        self._held = text[cut:]
        return self._secrets.mask(text[:cut])


# Classes that are made on the way can go again.
@lru_cache(maxsize=256)
def _fields_of(kind: Any) -> tuple[str, ...]:
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    return tuple(field.name for field in fields)


def _unanswered(secret: Secret, error: Exception) -> ConfigError:
    unanswered = ConfigError(f"the secret {secret.name!r} can't be looked up: {type(error).__name__}: {error}")
    unanswered.__cause__ = error
    return unanswered


def _logged(given: Any) -> BaseException | None:
    if isinstance(given, tuple):
        given = given[1]
    if given is True:
        given = sys.exception()
    return given if isinstance(given, BaseException) else None
