"""Tables full of finished workflows: copies of a real one, each with its step, its attempt and its history."""

import secrets
from typing import Any

from sqlalchemy import insert, select

from awfe import Engine
from awfe.persistence.schema import attempt, event, step, workflow

_AT_ONCE = 5_000
# What the server would do meanwhile in the background; tables that have been full for long have it behind them.
_SETTLE = {"postgresql": ("VACUUM ANALYZE", "CHECKPOINT")}


async def fill(engine: Engine, name: str, count: int) -> None:
    """Copy a finished workflow so many times, with the last of its steps."""
    if not count:
        return
    async with engine._database.engine.begin() as connection:  # noqa: SLF001 - awfe makes no finished workflows
        found = await connection.execute(select(workflow).where(workflow.c.name == name))
        head = dict(found.mappings().one())
        rows: dict[Any, dict[str, Any]] = {}
        for table in (step, attempt, event):
            # The history has no line for a step that has just been completed.
            place = 0 if table is event else head["step_count"]
            where = table.c.workflow_id == head["id"], table.c.position == place
            found = await connection.execute(select(table).where(*where).limit(1))
            rows[table] = dict(found.mappings().one())
    rows[event].pop("id")
    # Far from those that the measured workflows get.
    first = head["id"] + 10_000_000
    for begin in range(first, first + count, _AT_ONCE):
        ids = range(begin, min(begin + _AT_ONCE, first + count))
        async with engine._database.engine.begin() as connection:  # noqa: SLF001 - see above
            await connection.execute(insert(workflow), [{**head, "id": n, "name": f"finished{n}"} for n in ids])
            for table, row in rows.items():
                copies = [{**row, "workflow_id": n} for n in ids]
                if table is event:
                    copies = [{**copy, "uid": secrets.token_hex(16)} for copy in copies]
                await connection.execute(insert(table), copies)
    for statement in _SETTLE.get(engine._database.kind, ()):  # noqa: SLF001 - see above
        async with engine._database.engine.connect() as connection:  # noqa: SLF001 - see above
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.exec_driver_sql(statement)
