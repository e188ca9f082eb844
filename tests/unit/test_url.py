"""From what a caller calls a database to a URL that awfe can use, without ever showing a password."""

import ssl
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL, make_url

from awfe import urls as module
from awfe.errors import ConfigError
from awfe.urls import DRIVERS, resolve, shown

PASSWORD = "s3cret"  # noqa: S105 - of nobody


@pytest.mark.parametrize(
    ("given", "resolved"),
    [
        ("mysql://root@127.0.0.1/wfe", "mysql+aiomysql://root@127.0.0.1/wfe"),
        ("mysql+aiomysql://root@127.0.0.1/wfe", "mysql+aiomysql://root@127.0.0.1/wfe"),
        ("mysql2://root@h/wfe", "mysql+aiomysql://root@h/wfe"),
        ("mariadb://root@h/wfe", "mysql+aiomysql://root@h/wfe"),
        ("mariadb+aiomysql://root@h/wfe", "mysql+aiomysql://root@h/wfe"),
        ("postgresql://u@h:5433/d", "postgresql+asyncpg://u@h:5433/d"),
        ("postgres://u@h/d", "postgresql+asyncpg://u@h/d"),
        ("sqlite:///workflows.db", "sqlite+aiosqlite:///workflows.db"),
        ("sqlite:////data/w.db", "sqlite+aiosqlite:////data/w.db"),
        ("sqlite3:///w.db?timeout=5", "sqlite+aiosqlite:///w.db?timeout=5"),
    ],
)
def test_a_plain_scheme_picks_the_async_driver(given: str, resolved: str) -> None:
    """As text or as a `sqlalchemy.URL`; a driver that is named already stays."""
    assert resolve(given).render_as_string(hide_password=False) == resolved
    assert resolve(make_url(given)) == make_url(resolved)


@pytest.mark.parametrize(
    ("given", "resolved"),
    [
        (
            {"adapter": "mysql2", "host": "h", "port": 3307, "username": "u", "password": PASSWORD, "database": "d"},
            f"mysql+aiomysql://u:{PASSWORD}@h:3307/d",
        ),
        ({"adapter": "mysql2", "host": "h", "password": None, "database": "d"}, "mysql+aiomysql://h/d"),
        (
            {"adapter": "mysql2", "username": "u@x", "password": "p/:@", "host": "h", "database": "d"},
            "mysql+aiomysql://u%40x:p%2F%3A%40@h/d",
        ),
        ({"adapter": "postgresql", "host": "h", "database": "d"}, "postgresql+asyncpg://h/d"),
        ({"adapter": "sqlite3", "database": "w.db"}, "sqlite+aiosqlite:///w.db"),
    ],
    ids=["all", "no password", "signs", "postgresql", "sqlite3"],
)
def test_the_mapping_of_the_gem_is_taken(given: dict[str, Any], resolved: str) -> None:
    """What is None is not given; signs in a password are no signs of the URL."""
    assert resolve(given) == make_url(resolved)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"host": "h"}, "the database mapping has no adapter; it takes adapter, host, port"),
        ({"adapter": "mysql2", "hots": "h", "pool": 5}, "the database mapping has unknown hots, pool; it takes"),
        ({"adapter": "mysql2", "port": "many"}, r"the database mapping can't be used: port \(str\)"),
        ({"adapter": "mysql2", "host": 5}, r"the database mapping can't be used: host \(int\)"),
        ({"adapter": "oracle", "host": "h"}, "'oracle' is not supported; use mysql, mariadb, postgresql, sqlite"),
    ],
)
def test_a_wrong_mapping_is_refused(given: dict[str, Any], problem: str) -> None:
    """The message tells what it takes, and not the password."""
    with pytest.raises(ConfigError, match=f"^{problem}"):
        resolve(given)
    with pytest.raises(ConfigError) as caught:
        resolve(given | {"password": PASSWORD})
    assert PASSWORD not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "given",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite+aiosqlite:///:memory:",
        "sqlite:///file::memory:?cache=shared&uri=true",
        "sqlite:///file:x?mode=memory&cache=shared&uri=true",
        {"adapter": "sqlite3"},
        {"adapter": "sqlite3", "database": ":memory:"},
        {"adapter": "sqlite3", "database": ""},
    ],
    ids=str,
)
def test_a_database_in_memory_is_refused(given: Any) -> None:
    """Each connection would have its own."""
    with pytest.raises(ConfigError, match=r"^an SQLite database in memory loses commits"):
        resolve(given)


def test_a_file_in_memory_is_refused_too() -> None:
    """It is gone with its last connection."""
    with pytest.raises(ConfigError, match=r"^an SQLite database in memory loses commits"):
        resolve("sqlite:///file:/x?vfs=memdb&uri=true")


@pytest.mark.parametrize(
    "given",
    [
        "mysql+pymysql://u:s3cret@h/d",
        "mysql+asyncmy://u:s3cret@h/d",
        "postgresql+psycopg://u:s3cret@h/d",
        "sqlite+pysqlite:///w.db",
        "oracle://u:s3cret@h/d",
        "mysql+://u:s3cret@h/d",
        "http://u:s3cret@h/d",
    ],
)
def test_another_driver_is_refused(given: str) -> None:
    """The message tells which there are."""
    with pytest.raises(ConfigError, match=r"is not supported; use ") as caught:
        resolve(given)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("given", ["", "root:s3cret@127.0.0.1/wfe", "mysql://u:s3cret@h:port/d", "s3cret"])
def test_what_is_not_a_url_is_not_shown(given: str) -> None:
    """It may hold a password in a place where nobody looks for one."""
    with pytest.raises(ConfigError, match=r"^the database URL can't be read; write it like mysql://") as caught:
        resolve(given)
    assert PASSWORD not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_url_given_as_an_adapter_is_not_shown() -> None:
    """An easy mistake with a mapping."""
    with pytest.raises(ConfigError) as caught:
        resolve({"adapter": f"mysql://root:{PASSWORD}@h/d"})
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("given", [None, 5, b"mysql://u:s3cret@h/d", ["mysql://u:s3cret@h/d"]], ids=repr)
def test_other_things_are_refused(given: Any) -> None:
    """By their type."""
    with pytest.raises(ConfigError, match=rf"^db is a {type(given).__name__}; give a URL, a mapping") as caught:
        resolve(given)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("postgresql://u:s3cret@h/d", r"postgresql needs the driver asyncpg: pip install 'awfe\[postgresql\]'"),
        ("mysql://u:s3cret@h/d", "mysql needs the driver aiomysql: pip install aiomysql"),
        ("sqlite:///w.db", "sqlite needs the driver aiosqlite: pip install aiosqlite"),
    ],
)
def test_a_missing_driver_is_named(given: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=f"^{hint}$"):
        resolve(given)


@pytest.mark.parametrize("dialect", DRIVERS)
def test_every_driver_is_looked_for_under_its_own_name(dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the one that is needed."""
    looked: list[str] = []

    def find_spec(name: str) -> str:
        looked.append(name)
        return name

    monkeypatch.setattr(module, "find_spec", find_spec)
    resolve(f"{dialect}://h/d")
    assert looked == [DRIVERS[dialect]]


def test_a_url_is_shown_without_its_password() -> None:
    """The rest helps to find a mistake."""
    url = URL.create("mysql+aiomysql", "u", PASSWORD, "h", 3306, "d")
    assert shown(url) == "mysql+aiomysql://u:***@h:3306/d"


def test_sslmode_is_what_asyncpg_calls_ssl() -> None:
    """Hosting providers give URLs for libpq."""
    url = resolve("postgresql://u@h/d?sslmode=require&application_name=x")
    assert dict(url.query) == {"ssl": "require", "application_name": "x"}


def test_certificates_of_a_url_become_a_context(tmp_path: Path) -> None:
    """The driver of MySQL takes no files; that of PostgreSQL reads its arguments by itself."""
    (tmp_path / "none").mkdir()
    url = resolve(f"mysql://u@h/d?ssl_capath={tmp_path}/none")
    context = module.encryption(url)["ssl"]
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert not module.encryption(resolve(f"{url}&ssl_check_hostname=false"))["ssl"].check_hostname
    assert module.encryption(resolve("mysql://u@h/d")) == {}
    assert module.encryption(resolve("postgresql://u@h/d?sslmode=require")) == {}


def test_certificates_that_can_not_be_used_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for name in ("empty.pem", "missing.pem"):
        with pytest.raises(ConfigError, match=rf"can't be used \(ssl_ca=.*/{name}\): "):
            module.encryption(resolve(f"mysql://u:{PASSWORD}@h/d?ssl_ca={tmp_path}/{name}"))
    with pytest.raises(
        ConfigError, match=r"the database URL has ssl_key_password; awfe takes ssl_ca, .*check_hostname"
    ):
        module.encryption(resolve("mysql://u@h/d?ssl_ca=ca.pem&ssl_key_password=x"))
