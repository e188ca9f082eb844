"""awfe without one of its protections each, to see that the tests of that protection would notice.

Each takes it out of the real code for one test, and says what then goes wrong.
"""

from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import ANY

import pytest
from sqlalchemy import Select

from awfe.domain.context import Context
from awfe.domain.moves import Head
from awfe.errors import LockLost
from awfe.execution import transactional
from awfe.execution.tenure import Tenure
from awfe.persistence import batch, entries, lookup, request, writer, writes
from awfe.persistence.locks.shared import SharedLocks
from awfe.persistence.transaction import Transaction

Mutant = Callable[[pytest.MonkeyPatch], None]


def without_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `run_token` a runner takes the takeover for its own move: both are revision n + 1 of one `run_id`.

    It is told that its step is saved, and commits further steps of a workflow that was taken from it.
    """
    _fence_without(monkeypatch, "run_token")


def without_run_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `run_id` two runners have one token: a replica that lost the claim of the first gives it out again.

    Both are told that they have completed the workflow; one result is lost.
    """
    _fence_without(monkeypatch, "run_id")


def without_rev(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `rev` a transaction that was committed already is committed once more, under the same revision.

    Where the same uid or attempt is inserted again, the unique keys make an error of it, and the run fails for nothing.
    """
    _fence_without(monkeypatch, "rev")


def without_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without token, `run_id` and `rev` a runner that was frozen commits over the one that has taken over."""
    _fence_without(monkeypatch, "run_token", "run_id", "rev")


def without_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the condition on `request` a step begins after a pause has returned."""
    _fence_without(monkeypatch, "request")


def without_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without looking how many heads were changed, a runner whose head was not is told that its step is saved."""
    for module, name in ((batch, "_changed"), (request, "execute")):
        real = getattr(module, name)

        def believe(*args: Any, real: Any = real) -> Any:
            real(*args)
            return ANY

        monkeypatch.setattr(module, name, believe)


def without_locking_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without FOR UPDATE a verb decides on a row while a commit that changes it is still on its way.

    What was done is reported as failed, and a workflow that a runner has just claimed is deleted under it.
    """
    for module, names in {
        lookup: ("_LOG_BY_ID", "_LOG_BY_NAME"),
        writer: ("LOCKED_BY_ID",),
        writes: ("LOCKED_BY_NAME", "NOTED"),
        entries: ("LOCKED_BY_NAME",),
    }.items():
        for name in names:
            monkeypatch.setattr(module, name, _plain(getattr(module, name)))


def without_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the registry one session takes one lock twice, since named locks are re-entrant: two run one workflow."""
    monkeypatch.setattr(SharedLocks, "registered", lambda _locks, _key: False)


def with_the_engines_statement_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its statement first, the engine does not hear that the transaction has failed since.

    PostgreSQL answers the COMMIT with a ROLLBACK: what was acknowledged is lost.
    """
    later: list[Callable[[], Awaitable[object]]] = []
    commit = Transaction._commit

    async def begin_only(transaction: Transaction, _passing: object, step: Any, ctx: Context) -> None:
        await transaction.begin()
        transaction._is_sound = True
        later.append(lambda: step.work(ctx, transaction.session))

    async def work_and_commit(transaction: Transaction) -> None:
        await later.pop()()
        await commit(transaction)

    monkeypatch.setattr(transactional, "_work", begin_only)
    monkeypatch.setattr(Transaction, "_commit", work_and_commit)


def without_savepoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the savepoint nobody sees that a step's transaction was rolled back on the way, and another begun.

    On MySQL a deadlock does that: of a step that swallows its error the second half is stored, as a whole.
    """

    async def look(_transaction: Transaction) -> None:
        pass

    monkeypatch.setattr(Transaction, "_look", look)


def _fence_without(monkeypatch: pytest.MonkeyPatch, *columns: str) -> None:
    """Take conditions out of the fence, wherever it is looked at."""
    left = tuple(name for name in batch.FENCE if name not in columns)
    assert len(left) == len(batch.FENCE) - len(columns)
    monkeypatch.setattr(batch, "FENCE", left)

    def same_run(head: Head, other: Head) -> bool:
        same_token = "run_token" in columns or head.token == other.token
        return same_token and ("run_id" in columns or head.run_id == other.run_id)

    async def check_token(tenure: Tenure) -> bool:
        mine = tenure._head()
        if mine is not None and not same_run(await tenure._crew.reads.head(mine.name), mine):
            raise LockLost(mine.name, "taken over")
        return True

    monkeypatch.setattr(writer, "_same_run", same_run)
    monkeypatch.setattr(Tenure, "_check_token", check_token)


def _plain(statement: Select[Any]) -> Select[Any]:
    plain = statement._generate()
    plain._for_update_arg = None
    return plain
