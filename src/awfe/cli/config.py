"""Where the database is, and what may be imported: from options, the environment, awfe.toml or pyproject.toml."""

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from awfe.errors import ConfigError

VARIABLE = "AWFE_DATABASE_URL"
_KEYS = {"database": str, "import": list, "settings": dict}


@dataclass(frozen=True, slots=True)
class Config:
    """What the command line was told about where it works; `source` says who named the database."""

    database: str | None = field(default=None, repr=False)
    source: str = ""
    modules: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The database's URL; raises `ConfigError` where nobody named one."""
        if self.database is None:
            ways = f'set {VARIABLE}, or write database = "URL" into awfe.toml'
            msg = f"no database: give --db URL, such as sqlite:///awfe.db, or {ways}"
            raise ConfigError(msg)
        return self.database


def load(db: str | None, modules: Sequence[str], environ: Mapping[str, str], start: Path) -> Config:
    """Return the configuration: an option wins over the environment, that over a file; modules add up."""
    file, found = _nearest(start)
    database, source = found.get("database"), str(file)
    if database is not None and file is not None:
        database = _beside(file, database)
    if environ.get(VARIABLE):
        database, source = environ[VARIABLE], VARIABLE
    if db is not None:
        database, source = db, "--db"
    return Config(database, source, (*found.get("import", ()), *modules), found.get("settings", {}))


def _nearest(start: Path) -> tuple[Path | None, dict[str, Any]]:
    """Return the nearest file upwards that says something about awfe; awfe.toml wins over pyproject.toml beside it."""
    for directory in (start, *start.parents):
        for name, path in (("awfe.toml", ()), ("pyproject.toml", ("tool", "awfe"))):
            if not (file := directory / name).is_file():
                continue
            table: Any = _read(file)
            for key in path:
                table = table.get(key, {}) if isinstance(table, dict) else {}
            if table or not path:
                return file, _checked(file, table)
    return None, {}


def _read(file: Path) -> dict[str, Any]:
    text = ""
    try:
        text = file.read_text("utf-8")
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line, key, said = import_module("awfe.runbooks.wording").of_toml(text, error)
        msg = f"{file}:{line}: {f'{key}: ' if key else ''}this is not TOML: {said}"
        raise ConfigError(msg) from error
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{file}: can't be read: {error}"
        raise ConfigError(msg) from error


def _checked(file: Path, table: Any) -> dict[str, Any]:
    if not isinstance(table, dict):
        msg = f"{file}: tool.awfe must be a table"
        raise ConfigError(msg)
    for key, value in table.items():
        if key not in _KEYS:
            msg = f"{file}: unknown key {key!r}; there are {', '.join(_KEYS)}"
            raise ConfigError(msg)
        if not isinstance(value, _KEYS[key]) or (key == "import" and not all(isinstance(each, str) for each in value)):
            what = {"database": "a URL, as a string", "import": "an array of module names", "settings": "a table"}[key]
            msg = f"{file}: {key} must be {what}"
            raise ConfigError(msg)
    return table


def _beside(file: Path, database: str) -> str:
    """Return a URL in which an SQLite file is found from wherever the command is called."""
    scheme, mark, path = database.partition(":///")
    if scheme.startswith("sqlite") and mark and path and not path.startswith(("/", "file:")):
        return f"{scheme}:///{os.path.normpath(file.parent / path)}"
    return database
