"""Checks of a database that awfe has not been tried on: a proxy, a cluster, another version, a network file system.

`python -m awfe.testing.conformance URL` runs all of them. In a test of yours each of `CHECKS` is called with the URL
and the settings of your engines, and raises `AssertionError` with what does not hold, and what that means. They work
in a database that is empty or in use, in workflows whose names begin with `conformance-` and something random, and
delete those; the tables of awfe are made where there are none, and stay.
"""

from typing import Final

from awfe.testing.conformance.bed import Check
from awfe.testing.conformance.keeping import (
    a_checkpoint_outlasts_its_engine,
    a_large_context_is_kept,
    names_are_compared_by_their_bytes,
    text_is_kept_as_it_is,
    times_keep_microseconds,
)
from awfe.testing.conformance.locking import (
    a_lock_is_given_back,
    a_lock_that_is_lost_is_taken_again,
    a_pause_and_a_stop_arrive,
    one_engine_runs_a_workflow,
    the_lock_of_a_dead_process_is_free,
)
from awfe.testing.conformance.moving import (
    a_commit_is_seen_at_once,
    a_deleted_workflow_stays_deleted,
    a_runner_that_was_taken_over_writes_nothing,
    a_transactional_step_commits_with_its_end,
    fifty_workflows_run_at_once,
)

__all__ = ["CHECKS", "Check"]

# What the others stand on comes first.
CHECKS: Final[tuple[Check, ...]] = (
    a_commit_is_seen_at_once,
    one_engine_runs_a_workflow,
    a_lock_is_given_back,
    a_lock_that_is_lost_is_taken_again,
    the_lock_of_a_dead_process_is_free,
    a_pause_and_a_stop_arrive,
    a_runner_that_was_taken_over_writes_nothing,
    a_checkpoint_outlasts_its_engine,
    a_transactional_step_commits_with_its_end,
    a_deleted_workflow_stays_deleted,
    fifty_workflows_run_at_once,
    names_are_compared_by_their_bytes,
    text_is_kept_as_it_is,
    a_large_context_is_kept,
    times_keep_microseconds,
)
