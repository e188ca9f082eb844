"""An empty database for each measurement, on the servers that the environment names."""

import os
import secrets
from pathlib import Path

from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

DATABASES = ("sqlite", "mysql", "postgresql")
ENVIRONMENT = {"mysql": "AWFE_TEST_MYSQL_URL", "postgresql": "AWFE_TEST_POSTGRESQL_URL"}


async def emptied(database: str, directory: Path, name: str) -> str:
    """Return the URL of an empty database, which replaces the one of that name."""
    if database == "sqlite":
        return f"sqlite:///{directory}/{name}_{secrets.token_hex(4)}.db"
    server = make_url(os.environ[ENVIRONMENT[database]])
    engine = create_async_engine(server, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(f"DROP DATABASE IF EXISTS {name}"))
        await connection.execute(text(f"CREATE DATABASE {name}"))
    await engine.dispose()
    return server.set(database=name).render_as_string(hide_password=False)
