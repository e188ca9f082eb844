"""A test-bed for awfe and for programs that use it: crash points, faults, a bad network, and a checker.

`python -m awfe.testing.chaos --url URL` runs processes that are killed, stopped and cut off, and checks what is left.
"""

from awfe.testing.calls import Call, Calls, crash_at
from awfe.testing.cancels import cancel_at, suspensions
from awfe.testing.crashes import crash
from awfe.testing.faults import Fault, Faults, fail_at
from awfe.testing.invariants import violations
from awfe.testing.proxy import Proxy

__all__ = [
    "Call",
    "Calls",
    "Fault",
    "Faults",
    "Proxy",
    "cancel_at",
    "crash",
    "crash_at",
    "fail_at",
    "suspensions",
    "violations",
]
