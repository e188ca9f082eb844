"""How often and how patiently a step is tried again."""

from dataclasses import dataclass

from awfe.errors import InvalidInput

_LONGEST = 366 * 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Try a failing step again: `attempts` in all, `wait` seconds before the second, then `factor` times longer each.

    `max_wait` (seconds) bounds a single delay. Raises `InvalidInput` for values that make no sense.
    """

    attempts: int = 3
    wait: float = 1.0
    factor: float = 2.0
    max_wait: float = 3600.0

    def __post_init__(self) -> None:
        """Refuse values that would never end or never begin."""
        if type(self.attempts) is not int or self.attempts < 1:
            msg = f"Retry(attempts={self.attempts!r}): give a whole number of at least 1"
            raise InvalidInput(msg)
        for name, least in (("wait", 0.0), ("factor", 1.0), ("max_wait", 0.0)):
            value = getattr(self, name)
            if type(value) not in (int, float) or not least <= value <= _LONGEST:
                msg = f"Retry({name}={value!r}): give a number from {least:g} to {_LONGEST:g}"
                raise InvalidInput(msg)

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after so many failures in a row."""
        if not self.wait:
            return 0.0
        try:
            return min(self.wait * self.factor ** (failures - 1), self.max_wait)
        except OverflowError:
            return self.max_wait


NEVER = Retry(attempts=1, wait=0)
