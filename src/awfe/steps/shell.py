"""Commands."""

import os
import signal
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, NamedTuple

from awfe.domain.context import Context
from awfe.domain.step import BaseStep
from awfe.domain.values import check_key
from awfe.errors import AwfeError, ContextError, InvalidInput
from awfe.shielding import to_the_end
from awfe.steps.process import Ended, Lines, Process
from awfe.steps.quoting import Script, encoded, plain_words
from awfe.steps.templates import fill, parse

MAX_SAVED = 1 << 20
_MAX_CODE = 255
_LONGEST_GRACE = 3600
_TAIL = 4000
_SHOWN = 200


class _Made(NamedTuple):
    """What is started; nothing is missing any more."""

    command: list[bytes]
    cwd: str
    env: dict[bytes, bytes]
    stdin: str | None


class ShellError(AwfeError):
    """A command failed: `code` is its exit code, or `signal` what ended it; `output` is the last that it printed."""

    def __init__(self, message: str, code: int | None = None, signal: int | None = None, output: str = "") -> None:
        """Keep what is known beside the message."""
        super().__init__(message, code, signal, output)

    @property
    def code(self) -> int | None:
        """The exit code; None when a signal ended it, or when it could not begin."""
        return self.args[1]  # type: ignore[no-any-return]  # set above

    @property
    def signal(self) -> int | None:
        """The signal that ended it."""
        return self.args[2]  # type: ignore[no-any-return]  # set above

    @property
    def output(self) -> str:
        """The last that it printed."""
        return self.args[3]  # type: ignore[no-any-return]  # set above

    def __str__(self) -> str:
        """Return the message with the last line of the output, which lists show, then the output."""
        message, code, signal, output = self.args
        if lines := output.strip().splitlines():
            first = f"{message}: {lines[-1].strip():.{_SHOWN}}"
            return first if len(lines) == 1 else f"{first}\nIts last output:\n{output}"
        begun = code is not None or signal is not None
        return f"{message}; it printed nothing" if begun else str(message)


@dataclass
class Shell(BaseStep, name="awfe.Shell"):
    """Run a command: a string goes through `sh`, a list of words does not.

    `{name}` puts a value of the context in: for `sh` as one word, quoted, or as the words of a list. `cwd`, the values
    of `env` and `input` are templates too. `env` adds to the environment, None removes. Other exit codes than
    `ok_codes` raise `ShellError`. `save_as`: the context's key for what it prints on its standard output, without the
    last newline, at most 1 MiB. A command that is cut short gets TERM, with all that it started, and after
    `kill_after` seconds KILL.
    """

    command: Any
    _: KW_ONLY
    cwd: str | None = None
    env: dict[str, Any] | None = None
    ok_codes: Any = field(default_factory=lambda: [0])
    save_as: str | None = None
    input: Any = None
    kill_after: float = 5.0

    def __post_init__(self) -> None:
        """Refuse what could not be run."""
        if isinstance(self.command, tuple):
            self.command = list(self.command)
        given = self.command.strip() if type(self.command) is str else self.command
        if type(given) not in (str, list) or not given:
            msg = f"command={self.command!r:.100}: give a str for sh, or a list of words"
            raise InvalidInput(msg)
        if self.env is not None:
            _check_env(self.env)
        self._check_templates()
        self.ok_codes = list(self.ok_codes) if isinstance(self.ok_codes, list | tuple | range) else self.ok_codes
        if not isinstance(self.ok_codes, list) or not all(map(_is_code, self.ok_codes)):
            msg = f"ok_codes={self.ok_codes!r:.100}: give a list of exit codes, from 0 to {_MAX_CODE}"
            raise InvalidInput(msg)
        if self.save_as is not None:
            check_key(self.save_as, "save_as", InvalidInput)
        if type(self.kill_after) not in (int, float) or not 0 <= self.kill_after <= _LONGEST_GRACE:
            msg = f"kill_after={self.kill_after!r:.60}: give seconds, from 0 to {_LONGEST_GRACE}"
            raise InvalidInput(msg)

    async def work(self, ctx: Context) -> None:
        """Run it."""
        made = self._made(ctx)
        printed = _Printed(ctx, saves=self.save_as is not None)
        process = Process(*made, grace=self.kill_after, outputs=printed.outputs)
        try:
            ended = await process.ended()
        finally:
            last = await to_the_end(process.end())
            if not last.all_gone:
                ctx.log.warning("something that %r has started does not end", self.command)
        if ended.code is None or ended.code not in self.ok_codes:
            raise self._error(ended, printed.tail)
        if self.save_as is not None:
            ctx[self.save_as] = printed.saved(self.save_as)

    def _check_templates(self) -> None:
        if isinstance(self.command, str):
            Script.of(self.command)
        else:
            for n, item in enumerate(self.command):
                parse(item, f"command[{n}]")
        for what in ("cwd", "input"):
            if getattr(self, what) is not None:
                parse(getattr(self, what), what)
        for key, value in (self.env or {}).items():
            if value is not None:
                parse(value, f"env[{key!r}]")

    def _made(self, ctx: Context) -> _Made:
        """Return what to start; whatever is missing in the context is missed here."""
        if isinstance(self.command, str):
            words = ["sh", *Script.of(self.command).arguments(ctx)]
        else:
            words = plain_words([parse(item, "command") for item in self.command], ctx)
        if not words or not words[0]:
            msg = "command: its first word is empty: there is no program to start"
            raise ContextError(msg)
        env = dict(os.environb)
        for key, value in (self.env or {}).items():
            if value is None:
                env.pop(key.encode(), None)
            else:
                env[key.encode()] = encoded([fill(parse(value, key), ctx)], f"env[{key!r}]")[0]
        cwd = "" if self.cwd is None else fill(parse(self.cwd, "cwd"), ctx)
        stdin = None if self.input is None else fill(parse(self.input, "input"), ctx)
        return _Made(encoded(words, "command"), encoded([cwd], "cwd")[0].decode(), env, stdin)

    def _error(self, ended: Ended, tail: str) -> ShellError:
        shown = repr(self.command)
        if ended.failed is not None:
            stage, errno = ended.failed
            what = f"{stage}={self.cwd!r}" if stage == "cwd" else f"{shown:.500}"
            return ShellError(f"{what} can't be started: {os.strerror(errno)}")
        if ended.signal is not None:
            how = f"was ended by {_signal_name(ended.signal)}"
        else:
            how = f"ended with exit code {ended.code}"
        return ShellError(f"{shown:.500} {how}", ended.code, ended.signal, tail)


def _is_code(given: object) -> bool:
    return type(given) is int and 0 <= given <= _MAX_CODE


def _check_env(env: object) -> None:
    if not isinstance(env, dict):
        msg = f"env={env!r:.100}: give a dict of names to values"
        raise InvalidInput(msg)
    for key in env:
        check_key(key, "env", InvalidInput)
        if not key or "=" in key or "\0" in key:
            msg = f"env: {key!r:.60} can't be the name of a variable"
            raise InvalidInput(msg)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class _Printed:
    """What a command prints: passed on line by line, its end kept for an error, and its standard output to be saved."""

    def __init__(self, ctx: Context, *, saves: bool) -> None:
        self.tail = ""
        self._ctx = ctx
        self._size = 0
        self._kept: list[bytes] = []
        # One pipe keeps the order of what is printed on both; to save one it needs two.
        merged, errors = Lines(self._line), Lines(self._line)
        self.outputs = [self._keep(merged), errors.feed] if saves else [merged.feed]

    def _line(self, text: str) -> None:
        if text:
            self.tail = (self.tail + text)[-_TAIL:]
            self._ctx.output(text)

    def _keep(self, lines: Lines) -> Callable[[bytes], None]:
        def keep(data: bytes) -> None:
            self._size += len(data)
            if self._size <= MAX_SAVED:
                self._kept.append(data)
            lines.feed(data)

        return keep

    def saved(self, key: str) -> str:
        """Return what was printed, without the last newline."""
        if self._size > MAX_SAVED:
            msg = f"save_as={key!r}: it printed {self._size} bytes, more than {MAX_SAVED}: let it write to a file"
            raise ContextError(msg)
        try:
            return b"".join(self._kept).decode().removesuffix("\n")
        except UnicodeDecodeError as error:
            msg = f"save_as={key!r}: what it printed is not UTF-8: {error.reason} at byte {error.start}"
            raise ContextError(msg) from None
