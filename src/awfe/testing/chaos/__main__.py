"""A chaos run on a database of yours: `python -m awfe.testing.chaos --url … --seconds …`."""

import argparse
import asyncio
import json
import logging
import secrets
import shlex
import signal
import sys

from sqlalchemy.exc import SQLAlchemyError

from awfe.errors import AwfeError
from awfe.testing.chaos import ChaosRefusedError, Plan, run
from awfe.testing.chaos.plan import Restart

_RESTARTS_IN = 300.0


def main(arguments: list[str] | None = None) -> int:
    """Return 0 when nothing was violated, 1 when something was, 2 when nothing could begin."""
    given = _parser().parse_args(arguments)
    # Of each connection that is cut, SQLAlchemy has something to say.
    logging.getLogger("sqlalchemy").addHandler(logging.NullHandler())
    seed = secrets.randbits(32) if given.seed is None else given.seed
    sys.stderr.write(f"repeat with --seed {seed}\n")
    plan = Plan(
        url=given.url,
        seed=seed,
        seconds=given.seconds,
        processes=given.processes,
        restart=None if given.restart_command is None else _command(given.restart_command),
        locks=given.locks,
        reuse=given.reuse,
    )
    try:
        report = asyncio.run(run(plan))
    except (ChaosRefusedError, AwfeError, SQLAlchemyError, OSError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 2
    sys.stdout.write((json.dumps(report.to_dict()) if given.json else report.text()) + "\n")
    return 1 if report.violations else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m awfe.testing.chaos", description=__doc__)
    parser.add_argument("--url", required=True, help="an empty database, which exists; its workflows stay there")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to disturb (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="decides what is random; by default another one each time")
    parser.add_argument("--processes", type=int, default=3, help="worker processes (default: %(default)s)")
    parser.add_argument(
        "--restart-command", metavar="CMD", help="crashes the server, and returns when it is there again"
    )
    parser.add_argument("--locks", choices=("dedicated", "shared", "lease"), default="dedicated")
    parser.add_argument("--reuse", action="store_true", help="also where there are workflows, which may be run then")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


def _command(line: str) -> Restart:
    words = shlex.split(line)

    async def restart() -> None:
        process = await asyncio.create_subprocess_exec(*words)
        status = await asyncio.wait_for(process.wait(), _RESTARTS_IN)
        if status:
            msg = f"{line!r} ended with status {status}: the server may be gone"
            raise ChaosRefusedError(msg)

    return restart


if __name__ == "__main__":
    # To be ended is to be interrupted: the workers end first, and the files are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
