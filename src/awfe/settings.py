"""The settings of an engine: one frozen value, validated once."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from awfe.errors import ConfigError

_DAY = 86_400.0
_BOUNDS: dict[str, tuple[float, float]] = {
    "max_running": (1, 100_000),
    "lock_heartbeat": (0.05, 3_600),
    "lock_limit": (1, _DAY),
    "takeover_delay": (0, 3_600),
    "recover_every": (0.05, _DAY),
    "stop_grace": (0, _DAY),
    "shutdown_grace": (0, _DAY),
    "poll_interval": (0.01, 3_600),
    "connect_retry_for": (0, _DAY),
    "db_retry_for": (0, 30 * _DAY),
    "pool_size": (2, 10_000),
    "max_context_bytes": (1_024, 1 << 30),
    "max_output_bytes": (0, 1 << 30),
    "max_interrupts": (0, 1_000_000),
}
_OPTIONAL = ("recover_every",)
LOCKS = ("dedicated", "shared", "lease")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How an engine behaves; times are in seconds, sizes in bytes. Raises `ConfigError` for a value out of range.

    `max_running`: workflows that run at once. `locks`: how each is locked: `"dedicated"`, by a named lock on a
    connection of its own; `"shared"`, by named locks that all stand on one connection; `"lease"`, by a row that is
    renewed, where named locks don't work. `lock_url`: the database of locks and bells, when it is another one.
    `lock_heartbeat` / `lock_limit`: how often the lock is checked, and when the server lets go of a silent holder.
    `takeover_delay`: a runner counts as gone when its lock was free in two looks that far apart. `recover_every`:
    `recover()` again and again. `stop_grace` / `shutdown_grace`: what a step has to end after a stop, and when the
    engine closes. `poll_interval`: how often requests of other processes are looked up. `connect_retry_for` /
    `db_retry_for`: how long to wait for a database at the start, and in the middle of a run. `pool_size`: data
    connections. `max_context_bytes` / `max_output_bytes`: what a context may weigh, encoded, and how much of the end of
    a step's output is kept. `max_interrupts`: how often in a row a step that is declared `rerun` is run again after a
    crash. `step_modules`: modules imported to find steps.
    """

    max_running: int = 20
    locks: str = "dedicated"
    lock_url: str | None = field(default=None, repr=False)
    lock_heartbeat: float = 5.0
    lock_limit: float = 30.0
    takeover_delay: float = 1.0
    recover_every: float | None = None
    stop_grace: float = 10.0
    shutdown_grace: float = 10.0
    poll_interval: float = 1.0
    connect_retry_for: float = 30.0
    db_retry_for: float = 600.0
    pool_size: int = 10
    max_context_bytes: int = 4 << 20
    max_output_bytes: int = 64 << 10
    max_interrupts: int = 3
    step_modules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a setting that could not work."""
        for name, (least, most) in _BOUNDS.items():
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            whole = isinstance(getattr(Settings, name), int)
            if type(value) not in ((int,) if whole else (int, float)) or not least <= value <= most:
                kind = "a whole number" if whole else "a number"
                msg = f"{name}={value!r}: give {kind} from {least:g} to {most:g}"
                raise ConfigError(msg)
        if self.locks not in LOCKS:
            msg = f"locks={self.locks!r}: give one of {', '.join(map(repr, LOCKS))}"
            raise ConfigError(msg)
        if self.lock_url is not None and (type(self.lock_url) is not str or not self.lock_url):
            msg = "lock_url: give the URL of a database, as a str"
            raise ConfigError(msg)
        modules = self.step_modules
        if type(modules) not in (tuple, list) or not all(type(module) is str and module for module in modules):
            msg = f"step_modules={modules!r}: give the names of modules, as a tuple of str"
            raise ConfigError(msg)
        object.__setattr__(self, "step_modules", tuple(modules))
        # The heartbeat, its own time-out and the server's limit must leave room for one lost beat.
        if self.lock_heartbeat * 2 >= self.lock_limit:
            msg = f"lock_heartbeat={self.lock_heartbeat:g} must be less than half of lock_limit={self.lock_limit:g}"
            raise ConfigError(msg)

    @property
    def lock_connections(self) -> int:
        """How many connections the locks may need."""
        return {"dedicated": self.max_running, "shared": 2, "lease": 0}[self.locks]

    @classmethod
    def of(cls, base: Self | None, given: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Self:
        """Return settings from keywords, else `base`, else `AWFE_…` of the environment, else the defaults."""
        known = [each.name for each in fields(cls)]
        unknown = given.keys() - set(known)
        if unknown:
            msg = f"unknown setting {', '.join(sorted(unknown))}; there are {', '.join(known)}"
            raise ConfigError(msg)
        if base is not None and not isinstance(base, Settings):
            msg = f"settings={base!r:.60}: give a Settings, or each setting as a keyword"
            raise ConfigError(msg)
        if base is not None:
            start = {name: getattr(base, name) for name in known}
        else:
            start = {name: _parse(name, text) for name in known if (text := environ.get(f"AWFE_{name.upper()}"))}
        return cls(**(start | dict(given)))


def _parse(name: str, text: str) -> Any:
    if name == "step_modules":
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if name in ("locks", "lock_url"):
        return text
    kind = int if isinstance(getattr(Settings, name), int) else float
    try:
        return kind(text)
    except ValueError:
        msg = f"AWFE_{name.upper()}={text!r} is not a number"
        raise ConfigError(msg) from None
