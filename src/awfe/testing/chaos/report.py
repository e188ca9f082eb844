"""What a chaos run found."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Final

_SHOWN: Final = 40


@dataclass(kw_only=True)
class Report:
    """Figures, and a sentence for each violation; `reached`: all goals were, or there were none."""

    database: str
    seed: int
    processes: int
    locks: str
    seconds: float = 0.0
    reached: bool = False
    workflows: int = 0
    unfinished: int = 0
    attempts: int = 0
    committed: int = 0
    born: int = 0
    takeovers: int = 0
    late: int = 0
    refusals: int = 0
    acknowledged: int = 0
    disturbances: Counter[str] = field(default_factory=Counter)
    verbs: Counter[tuple[str, str]] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    files: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for `--json`."""
        verbs: dict[str, dict[str, int]] = {}
        for (verb, what), times in sorted(self.verbs.items()):
            # Who asked and wrote down nothing more was killed.
            verbs.setdefault(verb, {})["killed" if what == "ask" else what] = times
        return asdict(self) | {"disturbances": dict(self.disturbances), "verbs": verbs}

    def text(self) -> str:
        """Return the report for people."""
        data = self.to_dict()
        lines = [
            f"{self.database}: {self.seconds:.0f} s, seed {self.seed}, {self.processes} processes, locks {self.locks}",
            f"  steps committed      {self.committed} in {self.attempts} attempts of {self.workflows} workflows",
            f"  left unfinished      {self.unfinished}, and brought to their end by an operator",
            f"  workers born         {self.born}",
            *(f"  {kind:<20} {times}" for kind, times in data["disturbances"].items()),
            f"  takeovers            {self.takeovers}",
            f"  bodies fenced late   {self.late}",
            f"  refused while frozen {self.refusals}",
            f"  acknowledgements     {self.acknowledged}",
            *(
                f"  {verb:<20} {', '.join(f'{times} {what}' for what, times in whats.items())}"
                for verb, whats in data["verbs"].items()
            ),
            f"  violations           {len(self.violations)}",
            *(f"    {violation}" for violation in self.violations[:_SHOWN]),
        ]
        if len(self.violations) > _SHOWN:
            lines.append(f"    … and {len(self.violations) - _SHOWN} more")
        if self.files is not None:
            lines.append(f"  the journal and the logs are in {self.files}")
        return "\n".join(lines)
