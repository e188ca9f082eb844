"""Which way a run goes: forward through the steps' work, or back through their undo."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from msgspec.structs import replace

from awfe.domain import claims, undoing, verbs, waiting
from awfe.domain.claims import Claimant
from awfe.domain.log import Progress
from awfe.domain.moves import Head, Move
from awfe.domain.states import Answer, Verb, WorkflowState
from awfe.domain.step import BaseStep, StepSpec, can_undo, policies_of
from awfe.errors import InvalidInput, StepNotFound
from awfe.persistence.writes import Found


class Course(Protocol):
    """What a run claims, which code of a step it runs, and what comes after it.

    `rev` is the revision of the head with which its steps were read.
    """

    steps: Sequence[BaseStep]
    rev: int
    undo: bool

    def take(self, steps: Sequence[BaseStep], rev: int) -> None:
        """Go through other steps: they were replaced since they were read."""

    def claim(self, found: Found, claimant: Claimant) -> Move | None:
        """Return the move that begins the run, None where there is nothing to run; raises what refuses it."""

    def next(self, head: Head, progress: Progress) -> tuple[int | None, int]:
        """Return the position that follows the current one, and the number of its next attempt."""


class Forward:
    """On through the steps; `woken`: only where the workflow still waits, and may go on."""

    undo = False

    def __init__(self, steps: Sequence[BaseStep], rev: int, *, woken: bool = False, recovered: bool = False) -> None:
        """Go through these steps, all of the workflow; `recovered`: only where no person has halted it."""
        self.take(steps, rev)
        self.woken = woken
        self._recovered = recovered

    def take(self, steps: Sequence[BaseStep], rev: int) -> None:
        """Go through other steps."""
        self.steps = steps
        self.rev = rev

    def claim(self, found: Found, claimant: Claimant) -> Move | None:
        """Begin the current step, or look whether what it waits for is there."""
        head, who = found.head, claimant
        if self.woken and head.state is not WorkflowState.WAITING:
            return None
        answer = verbs.check(head, Verb.RUN)
        if answer is Answer.RETURNS or (self._recovered and _is_a_persons(head)):
            return None
        self.check(head, answer)
        ready = waiting.ready(head, who.now, signalled=found.signal is not None)
        if head.state is WorkflowState.WAITING and not ready:
            return None
        if head.wait is not None and not (head.wait.kind == "again" and ready):
            return claims.claimed_waiting(head, who)
        attempt = head.attempt if head.waits else found.progress.next_attempt(head.at)
        move = claims.claimed(head, attempt, who)
        return move if found.signal is None else replace(move, signal=found.signal.id)

    def check(self, head: Head, answer: Answer) -> None:
        """Refuse a stopped step that is not declared `rerun`."""
        if answer is Answer.RUNS_IF_RERUN and not policies_of(self.steps[head.at - 1]).rerun:
            raise verbs.refusal(head, Verb.RUN, Answer.ERROR_STATE)

    def next(self, head: Head, progress: Progress) -> tuple[int | None, int]:
        """Return what follows the current step."""
        return head.at + 1, progress.next_attempt(head.at + 1)


class Back:
    """Back through what the completed steps can undo; the step that failed too, with `current`.

    `skip` passes over the undo at which a rollback was halted or has failed.
    """

    undo = True

    def __init__(
        self,
        steps: Sequence[BaseStep],
        rev: int,
        *,
        current: bool = False,
        skip: bool = False,
        recovered: bool = False,
    ) -> None:
        """Go back through these steps, all of the workflow; `recovered`: only where no person has halted it."""
        self.take(steps, rev)
        self._current = current
        self._skip = skip
        self._recovered = recovered

    def take(self, steps: Sequence[BaseStep], rev: int) -> None:
        """Go back through other steps."""
        self.steps = steps
        self.rev = rev
        self._undoable = [at for at, step in enumerate(steps, 1) if can_undo(step)]

    def claim(self, found: Found, claimant: Claimant) -> Move | None:
        """Begin the undo of the last completed step, or go on where a rollback was halted."""
        head = found.head
        verbs.check(head, Verb.ROLLBACK)
        if self._recovered and _is_a_persons(head):
            return None
        first = next(self.path(head, found.progress), None)
        return undoing.claimed(head, first, found.progress.next_attempt(first or 0), claimant)

    def path(self, head: Head, progress: Progress) -> Iterator[int]:
        """Yield the positions of the steps whose undo runs, in order."""
        way = undoing.Way(self._undoable, progress)
        at = way.first(head, current=self._current, skip=self._skip, undoable=self._undoable)
        while at is not None:
            yield at
            at = way.below(at)

    def next(self, head: Head, progress: Progress) -> tuple[int | None, int]:
        """Return what is undone after the current step."""
        below = undoing.Way(self._undoable, progress).below(head.at)
        return below, progress.next_attempt(below or 0)


def _is_a_persons(head: Head) -> bool:
    """Tell whether a workflow rests for a person: one that was in line to be recovered was run and halted meanwhile."""
    return not head.resumable and head.state not in (WorkflowState.PENDING, WorkflowState.WAITING)


def forward(
    head: Head, specs: Sequence[StepSpec], rev: int | None = None, *, recovered: bool = False
) -> Forward | None:
    """Return the way on from where a workflow stands, None for one that is completed; raises what refuses it.

    `rev`: the revision at which the steps were read, where that is not the head's.
    """
    answer = verbs.check(head, Verb.RUN)
    if answer is Answer.RETURNS:
        return None
    # Where others are quicker, who attaches follows them.
    woken = answer is Answer.ATTACHES
    course = Forward(load(head.name, specs), head.rev if rev is None else rev, woken=woken, recovered=recovered)
    course.check(head, answer)
    return course


def back(
    head: Head,
    specs: Sequence[StepSpec],
    rev: int | None = None,
    *,
    current: bool,
    skip: bool,
    recovered: bool = False,
) -> Back:
    """Return the way back from where a workflow stands; raises what refuses it."""
    verbs.check(head, Verb.ROLLBACK)
    steps = load(head.name, specs)
    return Back(steps, head.rev if rev is None else rev, current=current, skip=skip, recovered=recovered)


def load(name: str, specs: Sequence[StepSpec]) -> list[BaseStep]:
    """Make all steps again, so that none is missed when others have run; raises `StepNotFound`."""
    try:
        return [spec.load() for spec in specs]
    except LookupError as error:
        raise StepNotFound(name, f"{name!r}: {error.args[0]}") from error
    except InvalidInput as error:
        todo = "give its new fields a default, or replace the step with replace_steps"
        raise StepNotFound(name, f"{name!r}: {error}; {todo}") from error
