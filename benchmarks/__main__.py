"""How fast workflows run, as ratios to what the raw driver commits in the same run.

    python -m benchmarks [--rounds 3] [--databases sqlite,mysql,postgresql]
                         [--groups speed,floor,growth,tables,latency,start]
                         [--dbos PYTHON] [--json FILE] [--plot DIRECTORY]

Starts private servers with their default durability where the environment names none (`AWFE_TEST_MYSQL_URL`,
`AWFE_TEST_POSTGRESQL_URL`). Each measurement has an empty database and a process of its own. The rounds of all measures
are taken in turn, and a ratio is taken within a round, so that a machine that is busy for a while is busy for both; the
median counts, and the least and the most are told. `--dbos` names a Python in which DBOS is installed; `--plot` needs
matplotlib.
"""

import argparse
import json
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import machine
from benchmarks.places import DATABASES
from benchmarks.plan import RATIOS, Measure, groups
from benchmarks.rounds import Rounds, compare
from tests.servers import Servers


def rows(rounds: Rounds, measures: Sequence[Measure]) -> list[dict[str, Any]]:
    """Return for each measure its medians, with the least and the most per second."""
    result = []
    for database, taken in rounds.items():
        for measure in measures:
            values = [each[measure.name].values for each in taken if measure.name in each]
            if values:
                per_second = [value["per_second"] for value in values]
                medians = {name: statistics.median(value[name] for value in values) for name in values[0]}
                spread = {"least": min(per_second), "most": max(per_second)}
                result.append({"database": database, "measure": measure.name, **medians, **spread})
    return result


def table(found: Sequence[dict[str, Any]]) -> str:
    """Return the figures as a table in Markdown."""
    lines = [
        "| database | measure | per second, median (least to most) | CPU of the client, µs | peak MB | |",
        "|---|---|---|---|---|---|",
    ]
    for row in found:
        spread = "{per_second:,.0f} ({least:,.0f} to {most:,.0f})".format_map(row)
        more = ", ".join(f"{name[:-3]} {row[name]:,.1f} ms" for name in ("p50_ms", "p99_ms", "start_ms") if name in row)
        memory = f"{row['peak_mb']:,.0f}" if row["peak_mb"] else ""
        lines.append(f"| {row['database']} | {row['measure']} | {spread} | {row['cpu_us']:,.0f} | {memory} | {more} |")
    return "\n".join(lines)


def ratio_table(found: Sequence[dict[str, Any]]) -> str:
    """Return the ratios as a table in Markdown."""
    lines = ["| database | ratio | median (least to most) | target | |", "|---|---|---|---|---|"]
    said = {None: "", True: "met", False: "missed"}
    for row in found:
        spread = "{median:,.2f} ({least:,.2f} to {most:,.2f})".format_map(row)
        lines.append(f"| {row['database']} | {row['ratio']} | {spread} | {row['target']} | {said[row['met']]} |")
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--databases", default=",".join(DATABASES))
    parser.add_argument("--groups", default=",".join(groups(None)))
    parser.add_argument("--dbos", metavar="PYTHON", help="a Python in which DBOS is installed")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, metavar="DIRECTORY")
    return parser.parse_args()


def main() -> None:
    """Read the command line."""
    options = _options()
    databases = options.databases.split(",")
    known = groups(options.dbos)
    # What two groups compare with is measured once.
    chosen = list({each.name: each for group in options.groups.split(",") for each in known[group]}.values())
    about = {**machine(), "python": platform.python_version(), "command": " ".join(sys.argv[1:])}
    servers = Servers()
    try:
        servers.start([name for name in databases if name != "sqlite"])
        rounds = compare(chosen, databases, options.rounds)
    finally:
        servers.stop()
    found = rows(rounds, chosen)
    ratios = [row for ratio in RATIOS for database in rounds if (row := ratio.row(database, rounds[database]))]
    print(f"{table(found)}\n\n{ratio_table(ratios)}\n")
    print(", ".join(f"{name}: {value}" for name, value in about.items()))
    if options.json:
        options.json.write_text(json.dumps({"about": about, "measures": found, "ratios": ratios}, indent=1))
    if options.plot:
        from benchmarks.plot import plot  # noqa: PLC0415 - only who plots needs matplotlib

        plot(found, options.plot)


if __name__ == "__main__":
    main()
