"""Verbs about steps that are not any more what they were when a workflow was created."""

from collections.abc import Iterable
from functools import cached_property

from awfe import checks
from awfe.domain import differences, step
from awfe.domain.records import Diff, Workflow
from awfe.domain.step import StepLike, StepSpec
from awfe.persistence.replacing import Replacing
from awfe.reading import Reading


class Evolving(Reading):
    """What `Engine` can do about code that has gone on."""

    async def diff(self, name: str, steps: Iterable[StepLike]) -> Diff:
        """Return how the saved steps of a workflow differ from a list of all its steps; false where nothing does.

        An alias, and a new field with a default, is no difference. Raises `InvalidInput` for what can't be saved.
        """
        with self._verb(name):
            given = self._specs(steps)
            _, saved = await self._reads.with_steps(name)
            return differences.compare(saved, given)

    async def replace_steps(
        self, name: str, steps: Iterable[StepLike], *, actor: str | None = None, reason: str | None = None
    ) -> Workflow:
        """Replace the steps that have not run yet by those of a list of all steps; the context and the state stay.

        What has run must be the same in the list; the current step can be replaced while it is pending, before its
        first attempt or after a `reset`. Replaced steps have new idempotency keys; what was saved of them is kept in
        `awfe_event.output`. Raises `InvalidInput`, `InvalidState` or `WorkflowLocked`.
        """
        with self._verb(name):
            by, given = checks.by(actor, reason), self._specs(steps)
            self._warn_of_main({spec.impl for spec in given if spec.impl.startswith("__main__:")})
            # What could not be read back afterwards is refused before anything is changed.
            await self._reads.workflow(name)
            await self._steering.at_rest(name, lambda: self._replacing.replace(name, given, by, self._crew.clock()))
            return await self._reads.workflow(name)

    @cached_property
    def _replacing(self) -> Replacing:
        return Replacing(self._database, self._announcer.tell)

    @staticmethod
    def _specs(steps: Iterable[StepLike]) -> list[StepSpec]:
        return [step.save(position, each) for position, each in enumerate(checks.steps(steps), 1)]
