"""Long chaos runs on all databases at once: `python -m tests.durability.chaos_figures --seconds 1200`.

MariaDB (or MySQL) and PostgreSQL are private servers with their default durability, crashed and started again on the
same data; each database is disturbed by a process of its own. Prints a table, and exits with 1 after a violation.
"""

import argparse
import asyncio
import json
import logging
import secrets
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from awfe.testing.chaos import PACE, Plan, Report, run
from awfe.testing.chaos.plan import Restart
from tests.servers import KINDS, Server, ServerError

NAMES = ("sqlite", *(kind.dialect for kind in KINDS))
_NAME = "awfe_chaos"
# Slower than in a short run, so that more is done between two disturbances.
_PACE = {**PACE, "kills": (0.5, 2.5), "restarts": (10.0, 30.0)}
_LONGEST_OUTAGE = 1.0
_ROWS = (
    ("steps committed", "committed"),
    ("attempts", "attempts"),
    ("workflows", "workflows"),
    ("left to the operator", "unfinished"),
    ("acknowledgements checked", "acknowledged"),
    ("worker processes", "born"),
    ("takeovers", "takeovers"),
    ("bodies begun late, fenced", "late"),
    ("refused while frozen", "refusals"),
    ("seconds", "seconds"),
)
_DISTURBANCES = ("kills", "stops", "cuts", "deploys", "restarts")


@asynccontextmanager
async def private(name: str, seed: int) -> AsyncIterator[tuple[str, Restart | None]]:
    """Give the URL of an empty database on a server of its own, and what crashes and restarts that one."""
    if name == "sqlite":
        with tempfile.TemporaryDirectory() as directory:
            yield f"sqlite:///{directory}/awfe.db", None
        return
    (kind,) = (kind for kind in KINDS if kind.dialect == name)
    program = kind.find()
    if program is None:
        msg = f"there is no {name} here: apt-get install {kind.package}"
        raise ServerError(msg)
    server = kind(program, fast=False)
    try:
        server.start()
        await asyncio.to_thread(server.wait)
        engine = create_async_engine(server.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            await connection.execute(text(f"CREATE DATABASE {_NAME}"))
        await engine.dispose()
        url = make_url(server.url).set(database=_NAME).render_as_string(hide_password=False)
        yield url, _restarts(server, Random(f"{seed}:outages"))  # noqa: S311 - not a secret
    finally:
        server.stop()


def _restarts(server: Server, rng: Random) -> Restart:
    async def restart() -> None:
        server.crash()
        await asyncio.sleep(_LONGEST_OUTAGE * rng.random())
        # In this thread: the server ends with the thread that starts it.
        server.restart()
        await asyncio.to_thread(server.wait)

    return restart


async def disturb(name: str, seed: int, seconds: float, **plan: Any) -> Report:
    """Do one chaos run on a private server."""
    async with private(name, seed) as (url, restart):
        return await run(Plan(url=url, seed=seed, seconds=seconds, restart=restart, **plan))


async def _all(names: Sequence[str], seed: int, seconds: float, locks: str) -> list[dict[str, Any]]:
    async def one(name: str) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", __spec__.name, "--one", name, "--seed", str(seed), "--seconds", str(seconds), "--locks", locks),
            cwd=Path(__file__).parents[2],
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            output, _ = await process.communicate()
        except asyncio.CancelledError:
            process.terminate()
            await process.wait()
            raise
        if not output:
            return {
                "database": name,
                "violations": [f"the run ended with status {process.returncode}, without a report"],
            }
        report: dict[str, Any] = json.loads(output)
        return report

    return list(await asyncio.gather(*map(one, names)))


def _table(names: Sequence[str], reports: list[dict[str, Any]]) -> str:
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    rows = [(title, [report.get(key, 0) for report in reports]) for title, key in _ROWS]
    rows += [(kind, [report.get("disturbances", {}).get(kind, 0) for report in reports]) for kind in _DISTURBANCES]
    verbs = sorted({verb for report in reports for verb in report.get("verbs", {})})
    rows += [(verb, [sum(report.get("verbs", {}).get(verb, {}).values()) for report in reports]) for verb in verbs]
    rows += [("**violations**", [len(report["violations"]) for report in reports])]
    lines += [f"| {title} | {' | '.join(f'{value:,.0f}' for value in values)} |" for title, values in rows]
    for report in reports:
        lines += [f"{report['database']}: {violation}" for violation in report["violations"]]
        lines += [f"the journal and the logs are in {report['files']}"] if report.get("files") else []
    return "\n".join(lines)


def main() -> int:
    """Return 0 when nothing was violated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1200.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--locks", default="dedicated")
    parser.add_argument("--databases", default=",".join(NAMES))
    parser.add_argument("--one", choices=NAMES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    # Whoever ends us ends the servers and the workers, too, and removes their files.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    seed = secrets.randbits(32) if given.seed is None else given.seed
    if given.one is not None:
        logging.getLogger("sqlalchemy").addHandler(logging.NullHandler())
        report = asyncio.run(disturb(given.one, seed, given.seconds, locks=given.locks, pace=_PACE))
        print(json.dumps(report.to_dict()))
        return 1 if report.violations else 0
    print(f"repeat with --seed {seed}", file=sys.stderr, flush=True)
    names = given.databases.split(",")
    reports = asyncio.run(_all(names, seed, given.seconds, given.locks))
    print(_table(names, reports))
    return 1 if any(report["violations"] for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
