"""From what a caller calls a database to a URL with an async driver."""

import ssl
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from awfe.errors import ConfigError

DRIVERS = {"mysql": "aiomysql", "mariadb": "aiomysql", "postgresql": "asyncpg", "sqlite": "aiosqlite"}
_SPELLINGS = {"mysql2": "mysql", "postgres": "postgresql", "sqlite3": "sqlite"}
_EXTRAS = {"asyncpg": "pip install 'awfe[postgresql]'"}
_SSL_KEYS = ("ssl_ca", "ssl_capath", "ssl_cert", "ssl_key", "ssl_check_hostname")
_KEYS = ("adapter", "host", "port", "username", "password", "database")


def resolve(db: str | URL | Mapping[str, Any]) -> URL:
    """Return the URL with its async driver; raises `ConfigError`, which never shows a password."""
    if isinstance(db, Mapping):
        url = _from_mapping(db)
    elif isinstance(db, (str, URL)):
        try:
            url = make_url(db)
        except (ArgumentError, ValueError):
            # The text is not shown: it may hold a password in a place where nobody looks for one.
            msg = "the database URL can't be read; write it like mysql://user:password@host:3306/database or sqlite:///file.db"
            raise ConfigError(msg) from None
    else:
        msg = f"db is a {type(db).__qualname__}; give a URL, a mapping with {', '.join(_KEYS)}, or an AsyncEngine"
        raise ConfigError(msg)
    return check(_with_driver(url))


def check(url: URL) -> URL:
    """Refuse a URL that awfe can't use; the driver must be one whose connections it can watch."""
    dialect = url.get_backend_name()
    if url.get_driver_name() != DRIVERS.get(dialect):
        known = ", ".join(f"{name}+{driver}" for name, driver in DRIVERS.items())
        msg = f"{url.drivername!r} is not supported; use one of {known}"
        raise ConfigError(msg)
    if dialect == "sqlite" and _in_memory(url):
        msg = "an SQLite database in memory loses commits of other tasks; use a file, such as sqlite:///workflows.db"
        raise ConfigError(msg)
    if dialect != "sqlite" and not url.database:
        msg = f"{shown(url)!r} names no database: write it like {dialect}://user:password@host/database"
        raise ConfigError(msg)
    if url.port is not None and not 0 < url.port < 1 << 16:
        msg = f"port {url.port} is not a port: give one from 1 to 65535"
        raise ConfigError(msg)
    driver = DRIVERS[dialect]
    if find_spec(driver) is None:
        msg = f"{dialect} needs the driver {driver}: {_EXTRAS.get(driver, f'pip install {driver}')}"
        raise ConfigError(msg)
    return url


def _in_memory(url: URL) -> bool:
    wanted = {value for name in ("mode", "vfs") for value in url.normalized_query.get(name, ())}
    return not url.database or ":memory:" in url.database or not wanted.isdisjoint({"memory", "memdb"})


def encryption(url: URL) -> dict[str, ssl.SSLContext]:
    """Return what the driver is given beside a URL with `ssl_ca` and the like; raises `ConfigError`.

    SQLAlchemy reads them for drivers of MySQL that take the names of files: aiomysql takes a context.
    """
    given = {name: str(value) for name, value in url.query.items() if name.startswith("ssl_")}
    if not given or url.get_backend_name() != "mysql":
        return {}
    if unknown := given.keys() - set(_SSL_KEYS):
        msg = f"the database URL has {', '.join(sorted(unknown))}; awfe takes {', '.join(_SSL_KEYS)}"
        raise ConfigError(msg)
    try:
        context = ssl.create_default_context(cafile=given.get("ssl_ca"), capath=given.get("ssl_capath"))
        context.check_hostname = given.get("ssl_check_hostname", "true").lower() not in ("false", "0", "no")
        if "ssl_cert" in given:
            context.load_cert_chain(given["ssl_cert"], given.get("ssl_key"))
    except OSError as error:
        named = ", ".join(f"{name}={value}" for name, value in given.items())
        msg = f"the certificates of the database URL can't be used ({named}): {error}"
        raise ConfigError(msg) from error
    return {"ssl": context}


def is_missing_file(url: URL) -> bool:
    """Tell whether a file of SQLite is not there: to connect would make it."""
    name = url.database or ""
    return url.get_backend_name() == "sqlite" and not name.startswith("file:") and not Path(name).exists()


def shown(url: URL) -> str:
    """Return a URL for people, without its password."""
    # A query may hold a password too.
    return url.set(query={}).render_as_string(hide_password=True)


def _with_driver(url: URL) -> URL:
    scheme, plus, driver = url.drivername.partition("+")
    scheme = _SPELLINGS.get(scheme, scheme)
    if not plus:
        driver = DRIVERS.get(scheme, "")
    if scheme not in DRIVERS or not driver:
        # Somebody may have put a whole URL there, with its password.
        what = repr(url.drivername) if url.drivername.replace("+", "_").isidentifier() else "that"
        msg = f"{what} is not supported; use {', '.join(DRIVERS)}"
        raise ConfigError(msg)
    if driver == "asyncpg" and "sslmode" in url.query:
        # What libpq and every hosting provider call sslmode, asyncpg calls ssl; the values are the same.
        url = url.set(query={**url.query, "ssl": url.query["sslmode"]}).difference_update_query(["sslmode"])
    return url.set(drivername=f"{'mysql' if scheme == 'mariadb' else scheme}+{driver}")


def _from_mapping(db: Mapping[str, Any]) -> URL:
    unknown = db.keys() - set(_KEYS)
    if unknown or "adapter" not in db:
        what = f"unknown {', '.join(sorted(map(str, unknown)))}" if unknown else "no adapter"
        msg = f"the database mapping has {what}; it takes {', '.join(_KEYS)}"
        raise ConfigError(msg)
    given = {key: value for key, value in db.items() if value is not None and key != "adapter"}
    try:
        return URL.create(str(db["adapter"]), **given)
    except (TypeError, ValueError) as error:
        bad = ", ".join(f"{k} ({type(v).__qualname__})" for k, v in given.items())
        msg = f"the database mapping can't be used: {bad}; names are str, port is int"
        raise ConfigError(msg) from (None if "password" in given else error)
