"""How long `awfe --help` takes, and a command that opens a database, as a ratio to a Python that does nothing.

    python -m benchmarks.cli_startup [--rounds 10] [--json FILE]

A ratio says the same on a fast machine and on a slow one. Each is started in turn, and its fastest round counts:
what else the machine does only makes it slower. Time is the processor's, of the process and of those it started.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

LIMITS = {"awfe --help": 80.0, "awfe list": 200.0}


def seconds(command: Sequence[str], directory: Path) -> float:
    """Return how much of a processor a command has taken."""
    before = os.times()
    subprocess.run([sys.executable, *command], cwd=directory, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own program
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def ratios(rounds: int) -> dict[str, float]:
    """Return what each command costs, in Pythons that do nothing."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        awfe = ["-m", "awfe", "--db", f"sqlite:///{directory}/startup.db"]
        seconds([*awfe, "db", "upgrade"], directory)
        commands = {
            "python -c pass": ["-c", "pass"],
            "awfe --help": ["-m", "awfe", "--help"],
            "awfe list": [*awfe, "list"],
        }
        for command in commands.values():
            seconds(command, directory)  # compiles what it imports
        fastest = dict.fromkeys(commands, float("inf"))
        for _ in range(rounds):
            for label, command in commands.items():
                fastest[label] = min(fastest[label], seconds(command, directory))
    nothing = fastest.pop("python -c pass")
    return {label: taken / nothing for label, taken in fastest.items()}


def main() -> int:
    """Print the ratios, and fail where one is over its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    measured = ratios(arguments.rounds)
    for label, ratio in measured.items():
        print(f"{label:12} {ratio:6.1f} times python -c pass (limit {LIMITS[label]:g})")
    if arguments.json:
        arguments.json.write_text(json.dumps({"ratios": measured, "limits": LIMITS}))
    return int(any(ratio > LIMITS[label] for label, ratio in measured.items()))


if __name__ == "__main__":
    sys.exit(main())
