"""Where the command line finds its database, and how it reads values and times."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from awfe import ConfigError, InvalidInput
from awfe.cli import config, values

URL = "mysql://me@h/d"


def load(start: Path, db: str | None = None, **environ: str) -> config.Config:
    return config.load(db, ["given"], environ, start)


def test_an_option_wins_over_the_environment_and_that_over_a_file(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (tmp_path / "awfe.toml").write_text(f'database = "{URL}"\nimport = ["ops"]\nsettings = {{ max_running = 3 }}\n')
    found = load(below)
    assert (found.url, found.source) == (URL, str(tmp_path / "awfe.toml"))
    assert found.modules == ("ops", "given")
    assert found.settings == {"max_running": 3}
    assert load(below, AWFE_DATABASE_URL="sqlite:///e.db").url == "sqlite:///e.db"
    assert load(below, "sqlite:///o.db", AWFE_DATABASE_URL="sqlite:///e.db").url == "sqlite:///o.db"
    assert URL not in repr(found)


def test_a_file_nearer_by_wins_and_pyproject_counts_where_it_speaks_of_awfe(tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.mkdir()
    (tmp_path / "pyproject.toml").write_text('[tool.awfe]\ndatabase = "sqlite:///../up.db"\n')
    (below / "pyproject.toml").write_text('[project]\nname = "other"\n')
    # A file of SQLite is beside the file that names it, from wherever the command is called.
    assert load(below).url == f"sqlite:///{tmp_path.parent}/up.db"
    (below / "awfe.toml").write_text("")
    with pytest.raises(ConfigError, match="no database"):
        _ = load(below).url


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("database = 5", "{file}: database must be a URL, as a string"),
        ("import = 'ops'", "{file}: import must be an array of module names"),
        ("import = [1]", "{file}: import must be an array of module names"),
        ("settings = 1", "{file}: settings must be a table"),
        ("databse = 'x'", "{file}: unknown key 'databse'; there are database, import, settings"),
        ("database = @", "{file}:1: database: this is not TOML: @ is no value: a text needs quotes"),
    ],
)
def test_a_broken_file_is_told(text: str, wanted: str, tmp_path: Path) -> None:
    (tmp_path / "awfe.toml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        load(tmp_path)
    assert str(raised.value) == wanted.format(file=tmp_path / "awfe.toml")


def test_a_value_is_json_or_a_text() -> None:
    found = values.pairs(["a=1", "b=x=y", 'c="1"', "d=[1, null]", "e=", "f=01"])
    assert found == {"a": 1, "b": "x=y", "c": "1", "d": [1, None], "e": "", "f": "01"}


def test_times() -> None:
    assert values.when("2030-01-31T03:00Z") == datetime(2030, 1, 31, 3, tzinfo=UTC)
    local = datetime(2030, 1, 31, 3).astimezone()
    assert values.when("2030-01-31T03:00") == local
    later = values.when("+90m")
    assert later is not None
    assert timedelta(minutes=89) < later - datetime.now(UTC) <= timedelta(minutes=90)
    assert values.age("30d") == timedelta(days=30)
    with pytest.raises(InvalidInput):
        values.age("30")
