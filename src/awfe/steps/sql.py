"""Statements of SQL."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import TextClause, bindparam, make_url, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from awfe import checks, urls
from awfe.domain.context import Context
from awfe.domain.step import OnInterrupt, TransactionalStep
from awfe.errors import ConfigError, InvalidInput
from awfe.shielding import to_the_end

MAX_ROWS: Final = 1_000
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_FIRST_WORD: Final = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(\w+)", re.DOTALL)
_ENDS_TRANSACTION: Final = frozenset(("ABORT", "BEGIN", "COMMIT", "END", "ROLLBACK", "START"))
# MySQL commits before and after each of these.
_COMMITS_ON_MYSQL: Final = frozenset(
    (
        "ALTER",
        "ANALYZE",
        "CREATE",
        "DROP",
        "FLUSH",
        "GRANT",
        "LOCK",
        "OPTIMIZE",
        "RENAME",
        "REVOKE",
        "TRUNCATE",
        "UNLOCK",
    )
)
_PLAIN: Final = (bool, int, float, str)


@dataclass
class Sql(TransactionalStep, name="awfe.Sql"):
    """Runs one statement, in the engine's database exactly once, and saves what it returns under `save_as`.

    `:name` in the statement is bound to `params["name"]`, or where `params` has none, to the context's value of that
    name; a list is bound as the list after IN. Rows are saved as a list of `{column: value}`, at most `MAX_ROWS`, with
    times as ISO 8601 texts, and decimals and UUIDs as texts; of a statement without rows, how many it changed. With
    `url`, a URL without a password or the name of an environment variable that has one, it runs there, on a connection
    of its own, and not together with the step's end: it may have run when the step was interrupted, so that one is not
    repeated by itself. Raises `InvalidInput`, `ConfigError` for a URL, and SQLAlchemy's errors for the database's.
    """

    statement: str
    params: dict[str, Any] | None = None
    url: str | None = field(default=None, kw_only=True)
    save_as: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what can't be run."""
        statement: object = self.statement
        if not isinstance(statement, str) or not statement.strip():
            msg = f"statement={self.statement!r:.60}: give one statement of SQL, as a str"
            raise InvalidInput(msg)
        params: object = self.params
        if params is not None and not isinstance(params, Mapping):
            msg = f"params={self.params!r:.60}: give a dict of names and values"
            raise InvalidInput(msg)
        checks.text("save_as", self.save_as)
        if unknown := sorted(set(self.params or ()) - set(self.names)):
            msg = f"params has {', '.join(map(repr, unknown))}, but the statement has no :{unknown[0]}: {self._shown}"
            raise InvalidInput(msg)
        if self.url is None and self._first_word in _ENDS_TRANSACTION:
            msg = f"{self._shown}: the engine begins and ends the transaction; leave that statement out"
            raise InvalidInput(msg)
        # What is only known when the step runs is not of this type.
        if type(self.url) is str:
            _check_url(self.url)

    @property
    def is_transactional(self) -> bool:
        """Whether it runs in the engine's database."""
        return self.url is None

    @property
    def on_interrupt(self) -> OnInterrupt:  # type: ignore[override]  # what is undone may be repeated, what is not may not
        """`"rerun"` in the engine's database, where nothing of an interrupted attempt is left, else `"pause"`."""
        return "rerun" if self.is_transactional else "pause"

    async def work(self, ctx: Context, session: AsyncSession | None = None) -> None:
        """Run it."""
        statement, values = self._bound(ctx)
        if session is not None:
            if session.get_bind().dialect.name == "mysql" and self._first_word in _COMMITS_ON_MYSQL:
                msg = f"{self._shown}: MySQL commits at {self._first_word}, so no transaction can have it; give url"
                raise InvalidInput(msg)
            await self._run(session, statement, values, ctx)
            return
        engine = create_async_engine(self._resolved(), poolclass=NullPool, hide_parameters=True)
        try:
            connection = await engine.connect()
            try:
                await self._run(connection, statement, values, ctx)
                await connection.commit()
            finally:
                await to_the_end(connection.close())
        finally:
            await to_the_end(engine.dispose())

    async def _run(
        self, database: AsyncSession | AsyncConnection, statement: TextClause, values: dict[str, Any], ctx: Context
    ) -> None:
        result: Any = await database.execute(statement, values)
        if not result.returns_rows:
            if self.save_as is not None:
                ctx[self.save_as] = max(result.rowcount, 0)
            return
        if self.save_as is not None:
            ctx[self.save_as] = _rows(list(result.keys()), result.fetchmany(MAX_ROWS + 1))
        result.close()

    def _bound(self, ctx: Context) -> tuple[TextClause, dict[str, Any]]:
        statement, values = text(self.statement), {}
        given = self.params or {}
        for name in self.names:
            if name not in given and name not in ctx:
                has = ", ".join(sorted(ctx)) or "none"
                msg = f"{self._shown}: neither params nor the context has {name!r}; the context has {has}"
                raise InvalidInput(msg)
            value = given[name] if name in given else ctx[name]
            values[name] = _bindable(name, value)
            if isinstance(value, list):
                statement = statement.bindparams(bindparam(name, expanding=True))
        return statement, values

    def _resolved(self) -> Any:
        assert self.url is not None  # noqa: S101 - without one it has the engine's session
        given: str | None = str(self.url)
        if type(self.url) is str and _VARIABLE.fullmatch(self.url):
            given = os.environ.get(self.url)
            if not given:
                msg = f"url={self.url!r}: there is no such environment variable; set it to the URL of the database"
                raise ConfigError(msg)
        return urls.resolve(given or "")

    @property
    def names(self) -> list[str]:
        """The parameters of the statement."""
        return list(text(self.statement).compile().params)

    @property
    def _first_word(self) -> str:
        found = _FIRST_WORD.match(self.statement)
        return found[1].upper() if found else ""

    @property
    def _shown(self) -> str:
        return repr(" ".join(self.statement.split())[:80])


def _check_url(url: str) -> None:
    if _VARIABLE.fullmatch(url):
        return
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        msg = "url: give the URL of a database without a password, or the name of an environment variable that has one"
        raise InvalidInput(msg) from None
    if parsed.password is not None or any("pass" in key.lower() for key in parsed.query):
        msg = "url has a password in it, which would be saved; name an environment variable that has the URL"
        raise InvalidInput(msg)
    urls.resolve(parsed)


def _bindable(name: str, value: Any) -> Any:
    """Return a value as drivers take it; raises `InvalidInput` for what is neither one value nor a list of such."""
    if value is None or isinstance(value, _PLAIN):
        # A secret's text is a str of a class of its own.
        return str(value) if isinstance(value, str) else value
    if isinstance(value, list) and not any(isinstance(item, (list, dict)) for item in value):
        return [_bindable(name, item) for item in value]
    msg = f":{name} is a {type(value).__name__}; give a str, a number, a bool, None, or a list of these, for IN"
    raise InvalidInput(msg)


def _rows(columns: list[str], rows: list[Any]) -> list[dict[str, Any]]:
    if len(rows) > MAX_ROWS:
        msg = f"the statement returns more than {MAX_ROWS} rows, too many to be saved; give it a LIMIT"
        raise InvalidInput(msg)
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        msg = f"two columns are called {twice!r}; give one another name, with AS"
        raise InvalidInput(msg)
    return [{column: _saved(column, value) for column, value in zip(columns, row, strict=True)} for row in rows]


def _saved(column: str, value: Any) -> Any:
    if value is None or type(value) in _PLAIN:
        return value
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (Decimal, UUID)):
        return str(value)
    msg = f"the column {column!r} has a {type(value).__name__}, which can't be saved; CAST it to text in the statement"
    raise InvalidInput(msg)
