"""Checks a database of yours: `python -m awfe.testing.conformance URL`."""

import argparse
import asyncio
import logging
import sys
from typing import Any

from awfe import urls
from awfe.engine import Engine
from awfe.errors import ConfigError, SchemaOutdated, StoreUnavailable
from awfe.settings import LOCKS
from awfe.testing.conformance import CHECKS
from awfe.testing.conformance.bed import ENGINES_LOG


def main(arguments: list[str] | None = None) -> int:
    """Return 0 when all holds, 1 when something does not, 2 when nothing could begin."""
    given = _parser().parse_args(arguments)
    # Of each connection that is cut, SQLAlchemy has something to say.
    logging.getLogger("sqlalchemy").addHandler(logging.NullHandler())
    ENGINES_LOG.addHandler(logging.NullHandler())
    ENGINES_LOG.propagate = False
    settings = {"locks": given.locks}
    if given.lock_url is not None:
        settings["lock_url"] = given.lock_url
    try:
        return asyncio.run(_all(given.url, settings))
    except (ConfigError, SchemaOutdated, StoreUnavailable) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 2


async def _all(url: str, settings: dict[str, Any]) -> int:
    async with Engine(url, connect_retry_for=5.0):
        _say(f"{urls.shown(urls.resolve(url))}, locks={settings['locks']}")
    failed = 0
    for check in CHECKS:
        try:
            await check(url, **settings)
        except AssertionError as error:
            failed += 1
            _say(f"FAILED  {_title(check.__name__)}: {' '.join(str(error).split())}")
        else:
            _say(f"ok      {_title(check.__name__)}")
    _say(f"{failed} of {len(CHECKS)} do not hold" if failed else f"all {len(CHECKS)} hold")
    return 1 if failed else 0


def _title(name: str) -> str:
    return name.replace("_", " ")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m awfe.testing.conformance", description=__doc__)
    parser.add_argument("url", help="a database, which exists; empty, or with workflows, which are left alone")
    parser.add_argument("--locks", choices=LOCKS, default="dedicated", help="the kind of locks (default: %(default)s)")
    parser.add_argument("--lock-url", metavar="URL", help="the database of locks and bells, when it is another one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
