"""The tables in a database come to the version that this awfe needs."""

import logging
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import Any, Final

from sqlalchemy.engine import URL, Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from awfe.errors import ConfigError
from awfe.persistence import opening, schema
from awfe.persistence.session import Database
from awfe.settings import Settings

_POOL: Final = 2


async def migrate(
    db: str | URL | Mapping[str, Any] | AsyncEngine, *, settings: Settings | None = None, **overrides: Any
) -> int | None:
    """Bring the tables to the version that this awfe needs; returns the version they had, None where there were none.

    Takes what `Engine` takes, and waits `connect_retry_for` for the database. Any number may do it at once, while no
    engine of an older awfe is open. What was cut off leaves the older tables, or on MySQL some of its changes: then do
    it again. Raises `ConfigError` where the extra `migrate` is missing, and `SchemaOutdated` for tables that are newer,
    or so old that nothing leads from there.
    """
    database = Database(db, Settings.of(settings, overrides), logging.getLogger("awfe"))
    async with database.briefly(_POOL):
        # Large tables may take long: no limit is right for all.
        return await database.retried(partial(_bring, database.engine, database.kind), may_last=True)


async def _bring(engine: AsyncEngine, kind: str) -> int | None:
    async with opening.connected(engine) as connection:
        found = await connection.run_sync(schema.version_of)
        await connection.rollback()
        if found == schema.VERSION:
            return found
        return await opening.under_lock(connection, kind, _change)


def _change(connection: Connection) -> int | None:
    found = schema.version_of(connection)  # another may have been faster
    if found is None:
        schema.create(connection)
    elif type(found) is int and found < schema.VERSION:
        try:
            scripts: Any = import_module("awfe.persistence.migrations")
        except ModuleNotFoundError as error:
            msg = f"to migrate the tables from schema {found} needs {error.name}: pip install 'awfe[migrate]'"
            raise ConfigError(msg) from error
        scripts.upgrade(connection, found)
    else:
        schema.check_version(found)
    return found
