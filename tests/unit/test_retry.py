"""Retries: patient, bounded, and sane from the start."""

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from awfe.domain.decide import decide
from awfe.domain.retry import NEVER, Retry
from awfe.domain.states import Cause, WorkflowState
from awfe.errors import InvalidInput
from tests.unit.heads import NOW
from tests.unit.situations import FAILED, situation

YEAR = 366 * 24 * 3600.0
seconds = st.floats(min_value=0, max_value=YEAR) | st.integers(min_value=0, max_value=int(YEAR))
factors = st.floats(min_value=1, max_value=YEAR) | st.integers(min_value=1, max_value=int(YEAR))


def test_each_delay_is_longer_by_the_factor() -> None:
    """Until `max_wait`."""
    retry = Retry(attempts=9, wait=1.5, factor=2.0, max_wait=10.0)
    assert [retry.delay(failures) for failures in (1, 2, 3, 4, 5)] == [1.5, 3.0, 6.0, 10.0, 10.0]


def test_no_retry_is_one_attempt() -> None:
    """The default of a step."""
    assert (NEVER.attempts, NEVER.delay(1)) == (1, 0)


@given(
    wait=seconds.filter(lambda wait: wait == 0 or wait > 1e-100),
    factor=factors,
    max_wait=seconds,
    failures=st.integers(min_value=1, max_value=3000),
)
@example(wait=1.0, factor=2.0, max_wait=60.0, failures=1024)
@example(wait=1, factor=2, max_wait=60, failures=1_000)
@example(wait=1.0, factor=YEAR, max_wait=YEAR, failures=3000)
def test_delays_never_shrink_and_never_pass_the_bound(
    wait: float, factor: float, max_wait: float, failures: int
) -> None:
    """However many failures there were."""
    retry = Retry(wait=wait, factor=factor, max_wait=max_wait)
    delay, later = retry.delay(failures), retry.delay(failures + 1)
    assert min(wait, max_wait) <= delay <= later <= max_wait


@given(
    attempts=st.integers(1, 20),
    wait=st.integers(0, 3600),
    factor=st.integers(1, 10),
    max_wait=st.integers(0, 86_400),
)
def test_a_step_that_always_fails_is_tried_so_often_and_after_such_delays(
    attempts: int, wait: int, factor: int, max_wait: int
) -> None:
    """Each attempt is an error of its own; the last leaves the workflow in error, and no attempt comes too soon."""
    retry = Retry(attempts=attempts, wait=wait, factor=factor, max_wait=max_wait)
    delays = []
    for failures in range(attempts):
        move = decide(situation(failures=failures, retry=retry), FAILED)
        assert move.cause is Cause.STEP_ERROR
        if move.after.state is WorkflowState.ERROR:
            break
        delays.append((move.after.due_at - NOW) / timedelta(seconds=1) if move.after.due_at else 0)
    assert failures == attempts - 1
    assert delays == [min(wait * factor**n, max_wait) for n in range(attempts - 1)]


@given(factor=factors, failures=st.integers(min_value=1, max_value=3000))
@example(factor=2.0, failures=1025)
def test_no_wait_stays_no_wait(factor: float, failures: int) -> None:
    """Nothing times anything is nothing."""
    assert Retry(wait=0, factor=factor).delay(failures) == 0


@pytest.mark.parametrize(
    "given_",
    [
        {"attempts": 0},
        {"attempts": -1},
        {"attempts": 2.0},
        {"attempts": True},
        {"attempts": "3"},
        {"wait": -0.1},
        {"wait": math.nan},
        {"wait": math.inf},
        {"wait": "1"},
        {"wait": None},
        {"wait": True},
        {"factor": 0.9},
        {"factor": 0},
        {"factor": math.nan},
        {"max_wait": -1},
        {"max_wait": math.inf},
        {"max_wait": YEAR + 1},
    ],
    ids=str,
)
def test_senseless_values_are_refused(given_: dict[str, Any]) -> None:
    """The message names the value."""
    ((name, value),) = given_.items()
    with pytest.raises(InvalidInput, match=rf"^Retry\({name}={value!r}\): give "):
        Retry(**given_)


def test_the_bounds_themselves_are_fine() -> None:
    """One attempt, no wait, a factor of one, a year."""
    retry = Retry(attempts=1, wait=0, factor=1, max_wait=YEAR)
    assert retry.delay(10) == 0
