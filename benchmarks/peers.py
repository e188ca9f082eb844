"""Peers on the same work: DBOS, where `--dbos` names a Python that has it."""

import json
import subprocess
from pathlib import Path

from sqlalchemy import make_url

from benchmarks.figures import Figure, measuring

_SCRIPT = Path(__file__).with_name("dbos_peer.py")


async def dbos(url: str, python: str, workflows: int, steps: int, in_flight: int) -> Figure:
    """Let DBOS run workflows, so many of them at a time."""
    return Figure(**json.loads(_run(url, python, workflows, steps, in_flight)))


async def dbos_started(url: str, python: str) -> Figure:
    """Start a process that runs one workflow of DBOS's, whose tables are there."""
    _run(url, python, 0, 0, 0)
    with measuring() as figure:
        _run(url, python, 0, 0, 0)
    figure.count = 1
    figure.more = {"start_ms": figure.seconds * 1e3}
    return figure


def _run(url: str, python: str, *numbers: int) -> str:
    # It opens its database by a driver of its own.
    plain = make_url(url)
    named = plain.set(drivername=plain.get_backend_name()).render_as_string(hide_password=False)
    command = [python, str(_SCRIPT), named, *map(str, numbers)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603 - the user's own Python
