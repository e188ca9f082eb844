"""An attempt and the move that ends it; of a transactional step both are one transaction, tried again as a whole."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, NoReturn, Protocol

from msgspec.structs import replace

from awfe.domain.context import Context
from awfe.domain.moves import Head, Move
from awfe.domain.outcomes import Ending, Outcome
from awfe.domain.step import BaseStep, TransactionalStep
from awfe.errors import InvalidInput, StoreUnavailable
from awfe.execution.attempt import Work
from awfe.execution.crew import Crew
from awfe.persistence.transaction import Refused, Transaction, Undone
from awfe.shielding import surely

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0

Apply = Callable[[Move, float], Awaitable[Head]]
RunAttempt = Callable[[Work | None], Awaitable[Outcome]]


class ApplyOutcome(Protocol):
    """Decides on an outcome and applies the move, in a way of its own where one is given."""

    def __call__(self, outcome: Outcome, apply: Apply | None = None) -> Awaitable[None]:
        """Do that."""


async def transacted(
    crew: Crew, step: TransactionalStep, run_attempt: RunAttempt, apply: ApplyOutcome, on_cancel: Callable[[], None]
) -> None:
    """Run the current attempt and apply what comes of it; a cancellation is told, and not raised."""
    pause, first_failed = _FIRST_PAUSE, 0.0
    while True:
        outcome, error = await _once(crew, run_attempt, apply, on_cancel)
        if outcome is None:
            return
        first_failed = first_failed or time.monotonic()
        limit = crew.settings.db_retry_for
        if outcome.ending is not Ending.COMPLETED and (error is None or time.monotonic() - first_failed > limit):
            await apply(outcome)
            return
        if time.monotonic() - first_failed > limit:
            msg = f"step {type(step).__name__}: its transaction could not be committed for {limit:g} s: {error}"
            raise StoreUnavailable(msg) from error
        crew.log.info("the transaction of step %s is done again: %s", type(step).__name__, error)
        try:
            # With jitter: those who met in a deadlock do not meet again.
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret
        except asyncio.CancelledError:
            on_cancel()
        pause = min(2 * pause, _LONGEST_PAUSE)


async def _once(
    crew: Crew, run_attempt: RunAttempt, apply: ApplyOutcome, on_cancel: Callable[[], None]
) -> tuple[Outcome | None, Exception | None]:
    """Run it in a transaction; returns what is left to be applied without it, and the error for which to try again."""
    transaction = crew.transaction()
    passing: list[Exception] = []
    try:
        outcome = await run_attempt(partial(_work, transaction, passing))
        if outcome.ending is Ending.COMPLETED:
            try:
                await apply(outcome, transaction.apply)
            except Undone as undone:
                return outcome, undone
            except Refused as refused:
                await surely(transaction.end, on_cancel)
                return await _failed(run_attempt, outcome, refused.error), None
            return None, None
    finally:
        # Before anything else is written: on SQLite it keeps all others from writing. What came of the attempt is saved
        # all the same when the loop goes down just then.
        await surely(transaction.end, on_cancel)
    return outcome, passing[0] if passing and outcome.ending is Ending.FAILED else None


async def _failed(run_attempt: RunAttempt, before: Outcome, error: Exception) -> Outcome:
    """Let the attempt fail after all, with what it has printed; what it changed in the context is not saved."""

    async def fail(_step: BaseStep, _ctx: Context) -> NoReturn:
        raise error

    outcome = await run_attempt(fail)
    return replace(outcome, output=before.output + outcome.output)


async def _work(transaction: Transaction, passing: list[Exception], step: BaseStep, ctx: Context) -> object:
    """Do the step's work in its transaction; `passing` gets an error of that which may pass."""
    assert isinstance(step, TransactionalStep)  # noqa: S101 - only these are run here
    await transaction.begin()
    try:
        result: object = await step.work(ctx, transaction.session)  # type: ignore[func-returns-value]  # checked by the attempt
        await transaction.settle()
    except Exception as error:
        if transaction.was_broken_by(error):
            passing.append(error)
        raise
    return result


async def no_checkpoint(_ctx: Context) -> NoReturn:
    """Refuse to save in the middle of a transaction."""
    msg = (
        "a transactional step can't checkpoint: all that it changes is saved at once, when it ends; split it into steps"
    )
    raise InvalidInput(msg)
