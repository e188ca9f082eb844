"""Whose work a step is: function calls for each step, and the time of the loop's thread by package.

    python -m benchmarks.profile [--databases sqlite,mysql,postgresql] [--at-once 1000] [--top 0] [--save DIRECTORY]

With `--at-once 1` workflows of 100 steps run one after the other. The profiler makes each call dearer than it is, so
only the shares mean something, and those of Python's own functions, which are counted to who calls them, more than
others. What a thread of a driver does is not seen. `--top` lists functions, `--save` keeps what `pstats` reads.
"""

import argparse
import asyncio
import cProfile
import pstats
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from awfe import Engine
from benchmarks.places import DATABASES, emptied
from benchmarks.work import create, opened
from tests.servers import Servers

_DRIVERS = ("aiomysql", "pymysql", "asyncpg", "aiosqlite", "greenlet")
_STEPS, _STEPS_ALONE, _ALONE = 10, 100, 10
# What is less is not told.
_LEAST = 0.01
_LIBRARY = sysconfig.get_path("stdlib")


async def profiled(url: str, at_once: int) -> tuple[cProfile.Profile, int]:
    """Run workflows at the same time, or one after the other; returns the profile, and how many steps were taken."""
    alone = at_once == 1
    names = [f"w{n}" for n in range(_ALONE if alone else at_once)]
    steps = _STEPS_ALONE if alone else _STEPS
    async with opened(url, "dedicated" if alone else "shared", at_once) as engine:
        await create(engine, ["warm", *names], steps)
        await engine.run("warm")
        profile = cProfile.Profile()
        profile.enable()
        await (_one_by_one(engine, names) if alone else _together(engine, names))
        profile.disable()
    return profile, len(names) * steps


async def _one_by_one(engine: Engine, names: list[str]) -> None:
    for name in names:
        await engine.run(name)


async def _together(engine: Engine, names: list[str]) -> None:
    await asyncio.gather(*await asyncio.gather(*map(engine.start, names)))


def shares(found: Mapping[Any, Any]) -> dict[str, float]:
    """Return what part of the time each package has, the greatest first; the wait for the database is left out."""
    spent: Counter[str] = Counter()
    for (file, _, name), (_, _, own, _, callers) in found.items():
        if "poll" in name:
            continue
        if file == "~" and callers:
            # Python's own: whoever calls it.
            for (caller, _, _), (_, _, part, _) in callers.items():
                spent[_package(caller)] += part
        else:
            spent[_package(file)] += own
    whole = sum(spent.values())
    return {name: part / whole for name, part in spent.most_common()}


def _package(file: str) -> str:
    parts = Path(file).parts
    if "site-packages" in parts:
        package = parts[parts.index("site-packages") + 1]
        return "the driver" if package in _DRIVERS else package
    if "awfe" in parts:
        return "awfe"
    if file.startswith(_LIBRARY):
        return "asyncio" if "asyncio" in parts else "the standard library"
    return "others"


async def show(database: str, options: argparse.Namespace) -> None:
    """Profile one database, and print what was found."""
    with tempfile.TemporaryDirectory() as directory:
        url = await emptied(database, Path(directory), "awfe_profile")
        profile, steps = await profiled(url, options.at_once)
    stats = pstats.Stats(profile)
    found: Mapping[Any, Any] = stats.stats  # type: ignore[attr-defined]  # what all of its methods read
    calls = sum(each[1] for each in found.values())
    print(f"{database}, {options.at_once:,} at once: {calls / steps:,.0f} function calls for each step")
    print("  " + ", ".join(f"{name} {part:.0%}" for name, part in shares(found).items() if part >= _LEAST), flush=True)
    if options.top:
        stats.sort_stats("tottime").print_stats(options.top)
    if options.save:
        profile.dump_stats(options.save / f"{database}-{options.at_once}.prof")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--databases", default=",".join(DATABASES))
    parser.add_argument("--at-once", type=int, default=1_000)
    parser.add_argument("--top", type=int, default=0)
    parser.add_argument("--save", type=Path, metavar="DIRECTORY")
    options = parser.parse_args()
    databases = options.databases.split(",")
    if options.save:
        options.save.mkdir(parents=True, exist_ok=True)
    servers = Servers()
    try:
        servers.start([name for name in databases if name != "sqlite"])
        for database in databases:
            asyncio.run(show(database, options))
    finally:
        servers.stop()


if __name__ == "__main__":
    main()
