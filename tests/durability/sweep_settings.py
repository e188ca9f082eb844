"""How much of the sweeps a run takes, the settings of the engines in them, and the kinds of locks that they use."""

import asyncio
import os
from typing import Any

from awfe import Engine
from awfe.testing.calls import Calls

# Whether all that there is to try is tried.
LONG = os.environ.get("AWFE_TEST_LONG") == "1"
LOCKS = ("dedicated", "shared", "lease")

# No call that a clock makes: what is swept is numbered.
CHILD: dict[str, Any] = {
    "poll_interval": 3_600,
    "lock_heartbeat": 1_000,
    "lock_limit": 3_000,
    "takeover_delay": 0.02,
    "connect_retry_for": 10.0,
    "db_retry_for": 20.0,
}
CHECKER: dict[str, Any] = {**CHILD, "poll_interval": 0.02, "max_running": 10}

# The last that is seen of a connection for the bell; what hangs it on PostgreSQL is no statement of SQLAlchemy's.
_LAST_OF_BELL = {"mysql": "SELECT GET_LOCK", "postgresql": "show standard_conforming_strings"}


async def bell_hangs(engine: Engine, calls: Calls) -> None:
    """Wait until an engine that was just opened has hung its bell, which it does in the background."""
    last = _LAST_OF_BELL.get(engine._database.kind)
    async with asyncio.timeout(20):
        while last is not None and not _hangs(calls, last):
            await asyncio.sleep(0.001)


def _hangs(calls: Calls, last: str) -> bool:
    connects = [call.number for call in calls.log if call.kind == "connect"]
    return len(connects) > 1 and any(call.statement.startswith(last) for call in calls.log[connects[-1] :])
