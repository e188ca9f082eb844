"""What a chaos run is to do."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Restart = Callable[[], Awaitable[None]]

# Seconds between two disturbances of a kind: at least, at most.
PACE: Final[Mapping[str, tuple[float, float]]] = {
    "kills": (0.2, 1.2),
    "stops": (1.0, 4.0),
    "cuts": (0.2, 2.0),
    "deploys": (3.0, 10.0),
    "restarts": (5.0, 12.0),
}

# What a write of a runner is conditional on, besides the workflow.
GUARDS: Final = ("run_token", "run_id", "rev", "request")

# Short, so that much happens; long enough that a busy machine does not lose every lock.
_LOCK_LIMIT: Final = 2.0
# Beyond the lock limit: some go on in the middle of being taken over, others when that is done.
_FREEZE: Final = (_LOCK_LIMIT + 0.1, _LOCK_LIMIT + 1.5)
_SETTINGS: Final[Mapping[str, Any]] = {
    "recover_every": 0.3,
    "takeover_delay": 0.2,
    "lock_heartbeat": 0.5,
    "lock_limit": _LOCK_LIMIT,
    "poll_interval": 0.1,
    "stop_grace": 0.5,
    "shutdown_grace": 1.0,
    "connect_retry_for": 60.0,
    "db_retry_for": 120.0,
    "pool_size": 4,
    "max_running": 12,
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One chaos run; times are in seconds.

    `seconds`: how long it disturbs; with `goals` (how many disturbances of each kind) it ends as soon as these are
    reached, and after `seconds` at the latest. `restart` crashes the server and returns when it is back. `reuse` lets
    it run beside other workflows. `pace`: from and to how many seconds lie between two disturbances of a kind, and
    `freeze`: for how long a process is stopped. `guards`: the conditions of a runner's writes that are left in; a
    control takes some out, and must be found out. `until_violation` looks at the tables all the time, and ends with
    the first that they show.
    """

    url: str
    seed: int
    seconds: float
    goals: Mapping[str, int] | None = None
    processes: int = 3
    lanes: int = 4
    operators: int = 4
    restart: Restart | None = None
    locks: str = "dedicated"
    reuse: bool = False
    guards: tuple[str, ...] = GUARDS
    until_violation: bool = False
    pace: Mapping[str, tuple[float, float]] = field(default_factory=lambda: PACE)
    freeze: tuple[float, float] = _FREEZE

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of every engine that takes part."""
        return {**_SETTINGS, "locks": self.locks}
