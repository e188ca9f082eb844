"""What is read: workflows, lists, histories."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Final, TypeVar

from sqlalchemy import BindParameter, Column, Select, and_, bindparam, func, null, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from awfe.domain.log import Entry
from awfe.domain.moves import Head
from awfe.domain.records import Event, Workflow, WorkflowSummary
from awfe.domain.states import ACTIVE, WorkflowState
from awfe.domain.step import StepSpec
from awfe.errors import WorkflowCorrupt
from awfe.persistence import codec, many, specs, views
from awfe.persistence.gathering import Gathering
from awfe.persistence.lookup import fetched, found, head_of, printed, still_there, told, with_steps
from awfe.persistence.schema import attempt, event, step, workflow
from awfe.persistence.session import Database

T = TypeVar("T")
Saved = tuple[Head, list[StepSpec]]
One = Callable[[str, AsyncConnection], Awaitable[T]]
Several = Callable[[Sequence[str], AsyncConnection], Awaitable[Sequence[T | None]]]
# Contexts may be large, and all of them are in memory at once.
_MOST: Final = 32
# Of a workflow that can't be understood: id, owner, run_id, rev. Where they are the same again, nobody has moved it.
Remains = tuple[Any, ...]
_W: Final = len(workflow.c)
_KEY: Final = workflow.c.id
_id: Final[BindParameter[Any]] = bindparam("id")

_REMAINS: Final = select(workflow.c.id, workflow.c.owner, workflow.c.run_id, workflow.c.rev).where(
    workflow.c.name == bindparam("name")
)
LOCKED_REMAINS: Final = _REMAINS.with_for_update()
_SUMMARIES: Final = (
    select(workflow, step.c.name.label("step_name"), attempt.c.error_type, attempt.c.error_message)
    .add_columns(null().label("error_traceback"))
    .outerjoin(step, and_(step.c.workflow_id == workflow.c.id, step.c.position == workflow.c.position))
    .outerjoin(
        attempt,
        and_(
            attempt.c.workflow_id == workflow.c.id,
            attempt.c.position == workflow.c.position,
            attempt.c.attempt == workflow.c.attempt,
            workflow.c.state == WorkflowState.ERROR.value,
        ),
    )
    .order_by(workflow.c.name)
)
_ACTIVE: Final = [state.value for state in ACTIVE]
_ORPHANS: Final = select(workflow).where(workflow.c.state.in_(_ACTIVE))
# What others ask for, and what others have taken from this owner.
_CONCERNING: Final = select(workflow).where(
    or_(
        workflow.c.request.is_not(None),
        and_(workflow.c.owner == bindparam("owner"), workflow.c.state.not_in(_ACTIVE)),
    )
)
_STATS: Final = (
    select(workflow.c.state, func.count())
    .where(workflow.c.state.in_([state.value for state in WorkflowState]))
    .group_by(workflow.c.state)
)
_ATTEMPTS: Final = select(attempt).where(attempt.c.workflow_id == _id)
_EVENTS: Final = select(event).where(event.c.workflow_id == _id)


class Reads:
    """Reads of one database; each is one transaction, or shares one with others of its kind."""

    def __init__(self, database: Database) -> None:
        """Read from this database."""
        self._database = database
        self._told: set[str] = set()
        # What is asked for at the same time is read in one transaction.
        self._specs: Gathering[str, Saved] = Gathering(
            partial(self._at_once, _with_steps, many.with_steps), database.log, _MOST
        )
        self._workflows: Gathering[str, Workflow] = Gathering(
            partial(self._at_once, _workflow, many.workflows), database.log, _MOST
        )

    async def _at_once(self, one: One[T], several: Several[T], names: Sequence[str]) -> Sequence[T | None]:
        if len(names) == 1:
            return [await self._database.read(partial(one, names[0]), 0, unseen=True)]
        return await self._database.read(partial(several, names), 0, unseen=True)

    async def close(self) -> None:
        """Return when nothing is being read any more, also for those who were cancelled."""
        await self._specs.close()
        await self._workflows.close()

    async def head(self, name: str) -> Head:
        """Return the head of a workflow; raises `WorkflowNotFound`."""
        return await self._database.read(lambda connection: head_of(connection, name))

    async def remains(self, name: str) -> Remains:
        """Return what can be read of any workflow; raises `WorkflowNotFound`."""
        rows = await self._database.read(lambda connection: fetched(connection, name, _REMAINS, {"name": name}))
        return tuple(found(rows, name))

    async def with_steps(self, name: str) -> Saved:
        """Return a head with its saved steps, which can be made again; raises `WorkflowNotFound`."""
        known = await self._specs.ask(name, name)
        return await self._database.read(partial(_with_steps, name)) if known is None else known

    async def workflow(self, name: str) -> Workflow:
        """Return a workflow as it stands; raises `WorkflowNotFound`."""
        known = await self._workflows.ask(name, name)
        return await self._database.read(partial(_workflow, name)) if known is None else known

    async def summaries(
        self, state: WorkflowState | None, name_prefix: str, limit: int, after: str | None
    ) -> list[WorkflowSummary]:
        """Return workflows ordered by name in code points."""
        query = _SUMMARIES.limit(limit)
        if state is not None:
            query = query.where(workflow.c.state == state.value)
        if name_prefix:
            query = query.where(func.substr(workflow.c.name, 1, len(name_prefix)) == name_prefix)
        if after is not None:
            query = query.where(workflow.c.name > after)
        return await self.each(query, lambda row: views.summary(codec.head_of(row[:_W]), row))

    async def stats(self) -> dict[WorkflowState, int]:
        """Return how many workflows are in each state."""
        counts = dict(tuple(row) for row in await self._rows(_STATS))
        return {state: counts.get(state.value, 0) for state in WorkflowState}

    async def history(self, name: str) -> list[Event]:
        """Return all that happened to a workflow, oldest first; raises `WorkflowNotFound`."""

        async def work(connection: AsyncConnection) -> list[Event]:
            head = await head_of(connection, name)
            ended = await fetched(connection, name, _ATTEMPTS, {"id": head.id})
            noted = await fetched(connection, name, _EVENTS, {"id": head.id})
            if not noted:
                await still_there(connection, head)
            lines = codec.each(name, "awfe_attempt", ended, partial(views.line_of_attempt, name))
            lines += codec.each(name, "awfe_event", noted, partial(views.line_of_event, name))
            with codec.Understanding(name, "its history"):
                return [line for _, line in sorted(lines, key=itemgetter(0))]

        return await self._database.read(work)

    async def running(self) -> list[Head]:
        """Return the heads of all that somebody runs, or ran."""
        return await self.each(_ORPHANS, codec.head_of)

    async def concerning(self, owner: str) -> list[Head]:
        """Return the heads of all that are asked to pause or stop, and of what this owner may not know to be fenced."""
        return await self.each(_CONCERNING.params(owner=owner), codec.head_of)

    def pass_over(self, error: WorkflowCorrupt) -> None:
        """Tell, once, of a workflow that can't be understood; the others go on."""
        if error.message not in self._told:
            self._told.add(error.message)
            self._database.log.warning("passed over: %s", error)

    async def each(self, query: Select[Any], make: Callable[[Any], T], key: Column[int] = _KEY) -> list[T]:
        """Make something of each row; those of which nothing can be made are passed over."""
        broken: list[int] = []
        while True:
            others = query.where(key.not_in(broken)) if broken else query
            try:
                return [make(row) for row in await self._rows(others)]
            except WorkflowCorrupt:
                if not (found_now := await self._broken(others, make, key)):
                    raise
                broken += found_now

    async def _broken(self, query: Select[Any], make: Callable[[Any], Any], key: Column[int]) -> list[int]:
        """Look at each row by itself: one that can't even be fetched doesn't tell which it is."""
        broken = []
        for (number,) in await self._rows(query.with_only_columns(key, maintain_column_froms=True)):
            try:
                name = f"row {number} of {key.table.name}"
                for row in await self._rows(select(key.table.c.name).where(key == number)):
                    name = row.name
                for row in await self._rows(query.where(key == number), name):
                    make(row)
            except WorkflowCorrupt as error:
                broken.append(number)
                self.pass_over(error)
        return broken

    async def _rows(self, query: Select[Any], name: str = "") -> Sequence[Any]:
        return await self._database.read(lambda connection: fetched(connection, name, query, {}))


async def _with_steps(name: str, connection: AsyncConnection) -> Saved:
    head, saved = await with_steps(connection, name)
    specs.check(name, saved)
    return head, saved


async def _workflow(name: str, connection: AsyncConnection) -> Workflow:
    head, saved = await with_steps(connection, name)
    return await shown(connection, head, saved, *await told(connection, head))


async def shown(
    connection: AsyncConnection, head: Head, saved: list[StepSpec], log: list[Entry], attempts: Sequence[Any]
) -> Workflow:
    """Return a workflow as it stands, of what was read of it."""
    with codec.Understanding(head.name, "what its steps changed"):
        return views.workflow(head, saved, log, attempts, await printed(connection, head))
