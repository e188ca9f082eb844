"""The verbs that only read."""

import builtins
from typing import Any

from awfe import checks
from awfe.domain.records import Event, Plan, Tombstone, Workflow, WorkflowSummary
from awfe.domain.states import WorkflowState
from awfe.lifecycle import Lifecycle


class Reading(Lifecycle):
    """What an engine tells of the workflows in its database."""

    async def get(self, name: str) -> Workflow:
        """Return a workflow as it stands."""
        with self._verb(name):
            return await self._reads.workflow(name)

    async def list(
        self,
        state: WorkflowState | str | None = None,
        name_prefix: str = "",
        limit: int = 100,
        after: str | None = None,
    ) -> builtins.list[WorkflowSummary]:
        """Return workflows by name in code points, at most `limit`, from the one after the name `after` on.

        Those that can't be understood are left out, each with a line in the log.
        """
        with self._gate:
            checks.whole("limit", limit)
            checks.storable("name_prefix", name_prefix)
            checks.storable("after", after)
            return await self._reads.summaries(checks.state(state), name_prefix, limit, after)

    async def stats(self) -> dict[WorkflowState, int]:
        """Return how many workflows are in each state."""
        with self._gate:
            return await self._reads.stats()

    async def history(self, name: str) -> builtins.list[Event]:
        """Return all that happened to a workflow, oldest first."""
        with self._verb(name):
            return await self._reads.history(name)

    async def deleted(self) -> builtins.list[Tombstone]:
        """Return what is left of deleted workflows, oldest first."""
        with self._gate:
            return await self._crew.entries.tombstones()

    async def plan(self, name: str, verb: str, **arguments: Any) -> Plan:
        """Tell what a verb would do to a workflow as it stands, with these arguments, or why it would be refused.

        `verb` is the name of a method that acts on one workflow: `run`, `start`, `pause`, `stop`, `reset`, `restart`,
        `skip`, `update_context`, `rollback`, `signal`, `approve`, `reject` or `delete`; `arguments` are its keywords.
        Nothing is written and no step is run. Whatever the verb would raise is in the plan; raises itself
        `InvalidInput` for a verb or a keyword that there is not. Where a runner is gone it takes `takeover_delay`. Of a
        workflow whose steps or changes can't be understood it names none where the verb does not need them, and raises
        `WorkflowCorrupt` where it does.
        """
        with self._verb(name):
            return await self._planner.plan(name, verb, arguments)
