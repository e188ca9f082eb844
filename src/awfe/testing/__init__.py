"""A test-bed for awfe and for programs that use it: a clock that jumps, single steps, crash points, faults, a checker.

`awfe.testing.plugin` has fixtures for pytest, which finds them by itself: `engine`, `clock`.
`python -m awfe.testing.chaos --url URL` runs processes that are killed, stopped and cut off, and checks what is left.
"""

from awfe.testing.asserting import assert_workflow, reached
from awfe.testing.calls import Call, Calls, crash_at
from awfe.testing.cancels import cancel_at, suspensions
from awfe.testing.clock import FakeClock
from awfe.testing.crashes import crash
from awfe.testing.faults import Fault, Faults, fail_at
from awfe.testing.invariants import violations
from awfe.testing.proxy import Proxy
from awfe.testing.single import StepRun, run_step

__all__ = [
    "Call",
    "Calls",
    "FakeClock",
    "Fault",
    "Faults",
    "Proxy",
    "StepRun",
    "assert_workflow",
    "cancel_at",
    "crash",
    "crash_at",
    "fail_at",
    "reached",
    "run_step",
    "suspensions",
    "violations",
]
