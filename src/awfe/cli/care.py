"""The database: its tables, and what may be wrong with it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rich.text import Text

import awfe
from awfe.cli import looks
from awfe.cli.exits import Exit
from awfe.cli.seat import Here, Seat
from awfe.errors import AwfeError
from awfe.settings import Settings

if TYPE_CHECKING:
    from awfe.persistence.health import Finding, Tables

_PATIENCE = 5.0  # who asks what is wrong does not wait for a database that may come


def _health() -> Any:
    """Return what only these commands need: it brings SQLAlchemy, which `awfe --help` does without."""
    return import_module("awfe.persistence.health")


def _settings(seat: Seat) -> Settings:
    return Settings.of(None, {"connect_retry_for": _PATIENCE, **seat.config.settings})


async def current(*, seat: Here) -> Exit:
    """Tell of which version the tables are, and which one this awfe needs."""
    tables = await _health().tables(seat.config.url, _settings(seat))
    there = "no tables" if tables.schema is None else f"schema {tables.schema}"
    return _told(seat, tables, f"{there}; this awfe needs {tables.needed}")


async def check(*, seat: Here) -> Exit:
    """Succeed when the tables are there, and of the version that this awfe needs."""
    tables = await _health().tables(seat.config.url, _settings(seat))
    tables.check()
    return _told(seat, tables, f"schema {tables.schema}, as this awfe needs it")


async def upgrade(*, seat: Here) -> Exit:
    """Create the tables where there are none, and bring older ones to the version that this awfe needs."""
    seat.expect_file(creates=True)
    settings = _settings(seat)
    before = await awfe.migrate(seat.config.url, settings=settings)
    tables = await _health().tables(seat.config.url, settings)
    done = f"created schema {tables.schema}" if before is None else f"upgraded schema {before} to {tables.schema}"
    if before == tables.schema:
        done = f"nothing to do, schema {tables.schema} is what this awfe needs"
    return _told(seat, tables, done)


def _told(seat: Seat, tables: "Tables", text: str) -> Exit:
    if seat.out.as_json:
        seat.out.document({"database": tables.database, "schema": tables.schema, "needed": tables.needed})
    else:
        seat.out.line(f"{tables.database}: {text}")
    return Exit.DONE


async def doctor(*, seat: Here) -> Exit:
    """Look at the database, its durability, clock and locks: what is wrong, and how to mend it."""
    findings: list[Finding] = await _health().examine(seat.config.url, _settings(seat))
    if any(each.what == "schema" and each.advice is None for each in findings):
        findings += await _workflows(seat)
    is_well = all(each.advice is None for each in findings)
    code = Exit.DONE if is_well else Exit.ERROR
    if seat.out.as_json:
        shown = [{"what": f.what, "found": f.found, "ok": f.advice is None, "advice": f.advice} for f in findings]
        seat.out.document({"findings": shown, "exit": code})
    else:
        _table(seat, findings)
    return code


async def _workflows(seat: Seat) -> "list[Finding]":
    finding = _health().Finding
    try:
        async with seat.engine() as engine:
            stats = await engine.stats()
    except AwfeError as error:
        return [finding("engine", str(error), "no command works before this is mended")]
    counted = ", ".join(f"{count} {state}" for state, count in stats.items() if count) or "none"
    return [finding("engine", "opens"), finding("workflows", counted)]


def _table(seat: Seat, findings: "list[Finding]") -> None:
    rows = (
        (Text("✓", "green") if f.advice is None else Text("✗", "bold red"), f.what, f.found, f.advice or "")
        for f in findings
    )
    seat.out.show(looks.table(("", "WHAT", "FOUND", "MEND IT"), rows))
