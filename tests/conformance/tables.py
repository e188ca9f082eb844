"""What tables there are, as the database itself describes them, so that two ways to make them can be compared."""

import re

from tests.databases import Database

NOTES = "awfe_migration"

_POSTGRESQL = (
    """SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default, collation_name
    FROM information_schema.columns WHERE table_schema = 'public'""",
    """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE conrelid <> 0 AND connamespace = 'public'::regnamespace""",
    "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'",
)
_SQLITE = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"


async def described(database: Database) -> list[str]:
    """Return a line for each column, constraint, index and view of awfe's tables, sorted: columns may stand anywhere.

    The table that notes migrations is left out.
    """
    parts = {"mysql": _on_mysql, "postgresql": _on_postgresql, "sqlite": _on_sqlite}[database.dialect]
    return sorted(line for table, line in await parts(database) if table != NOTES)


async def drop_all(database: Database) -> None:
    """Leave nothing of awfe."""
    await database.execute("DROP VIEW IF EXISTS awfe_step_state")
    for table in await _names(database):
        await database.execute(f"DROP TABLE {table}")


async def _names(database: Database) -> list[str]:
    source = {
        "mysql": "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
        "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    }
    return [name for (name,) in await database.execute(source[database.dialect])]


async def _on_mysql(database: Database) -> list[tuple[str, str]]:
    found = []
    for name in await _names(database):
        ((_, text, *_),) = await database.execute(f"SHOW CREATE TABLE {name}")
        lines = re.sub(r" AUTO_INCREMENT=\d+", "", text).splitlines()
        found += [(name, f"{name}: {line.rstrip(',')}") for line in lines]
    return found


async def _on_postgresql(database: Database) -> list[tuple[str, str]]:
    rows = [row for sql in _POSTGRESQL for row in await database.execute(sql)]
    return [(row[0], repr(tuple(row))) for row in rows]


async def _on_sqlite(database: Database) -> list[tuple[str, str]]:
    found = []
    for name, text in await database.execute(_SQLITE):
        # A table that was made anew, or got a column, is written in another way than one that was made at once.
        plain = " ".join(text.replace('"', "").split()).replace(" ,", ",")
        head, _, body = plain.partition(" (")
        parts = re.split(r", (?![^(]*\))", body.rstrip(") ")) if head.startswith("CREATE TABLE") else [plain]
        found += [(name, f"{name}: {part.rstrip(') ')}") for part in parts]
    return found
