"""Settings: validated once, from keywords, an earlier value, or the environment."""

import dataclasses
import math
from typing import Any

import pytest

from awfe.errors import ConfigError
from awfe.settings import Settings

# Each setting of the contract with its default, the least and the most it may be.
TABLE: list[tuple[str, float | None, float, float]] = [
    ("max_running", 20, 1, 100_000),
    ("lock_heartbeat", 5, 0.05, 3_600),
    ("lock_limit", 30, 1, 86_400),
    ("takeover_delay", 1, 0, 3_600),
    ("recover_every", None, 0.05, 86_400),
    ("stop_grace", 10, 0, 86_400),
    ("shutdown_grace", 10, 0, 86_400),
    ("poll_interval", 1, 0.01, 3_600),
    ("connect_retry_for", 30, 0, 86_400),
    ("db_retry_for", 600, 0, 30 * 86_400),
    ("pool_size", 10, 2, 10_000),
    ("max_context_bytes", 4 * 1024 * 1024, 1_024, 1 << 30),
    ("max_output_bytes", 64 * 1024, 0, 1 << 30),
    ("max_interrupts", 3, 0, 1_000_000),
]
NUMBERS = [name for name, *_ in TABLE]
WHOLE = ["max_running", "pool_size", "max_context_bytes", "max_output_bytes", "max_interrupts"]


def given_with(name: str, value: Any) -> dict[str, Any]:
    """Return a setting with what has to go with it: a heartbeat needs room in the limit."""
    return {"lock_heartbeat": 0.1, "lock_limit": 86_400, name: value}


def test_the_defaults_are_those_of_the_contract() -> None:
    """All of them, and no module is imported."""
    defaults = dataclasses.asdict(Settings())
    assert defaults.pop("step_modules") == ()
    assert defaults.pop("locks") == "dedicated"
    assert defaults.pop("lock_url") is None
    assert defaults == {name: default for name, default, *_ in TABLE}


@pytest.mark.parametrize(("name", "_default", "least", "most"), TABLE)
def test_a_setting_may_be_anything_within_its_bounds(
    name: str, _default: float | None, least: float, most: float
) -> None:
    """The bounds themselves included."""
    for value in (least, most):
        assert getattr(Settings(**given_with(name, value)), name) == value


@pytest.mark.parametrize(("name", "_default", "least", "most"), TABLE)
def test_a_setting_beyond_its_bounds_is_refused(name: str, _default: float | None, least: float, most: float) -> None:
    """The message names it and its value."""
    for value in (least - 1, most + 1):
        with pytest.raises(ConfigError, match=rf"^{name}={value!r}: give a "):
            Settings(**given_with(name, value))


@pytest.mark.parametrize("value", [True, "5", math.nan, math.inf, [], 1 + 0j], ids=repr)
@pytest.mark.parametrize("name", NUMBERS)
def test_a_setting_that_is_no_number_is_refused(name: str, value: Any) -> None:
    """Text is for the environment."""
    with pytest.raises(ConfigError, match=rf"^{name}="):
        Settings(**{name: value})


@pytest.mark.parametrize("name", [name for name in NUMBERS if name != "recover_every"])
def test_only_recover_every_may_be_none(name: str) -> None:
    """It is then never done by itself."""
    assert Settings(recover_every=None).recover_every is None
    with pytest.raises(ConfigError, match=rf"^{name}=None"):
        Settings(**given_with(name, None))


@pytest.mark.parametrize("name", WHOLE)
def test_a_count_is_a_whole_number(name: str) -> None:
    """Half a place is none."""
    with pytest.raises(ConfigError, match=rf"^{name}=5000\.0: give a whole number from "):
        Settings(**given_with(name, 5000.0))


@pytest.mark.parametrize(("heartbeat", "limit"), [(15.0, 30.0), (5, 10), (60, 30)])
def test_the_limit_leaves_room_for_a_lost_heartbeat(heartbeat: float, limit: float) -> None:
    """Else a server lets go of a lock that is held."""
    with pytest.raises(ConfigError, match=rf"^lock_heartbeat={heartbeat:g} must be less than half of lock_limit"):
        Settings(lock_heartbeat=heartbeat, lock_limit=limit)


@pytest.mark.parametrize("modules", ["os", ["os", ""], [1], None, 5], ids=repr)
def test_step_modules_are_names_of_modules(modules: Any) -> None:
    """One text is not taken for its letters."""
    with pytest.raises(ConfigError, match=r"^step_modules=.*give the names of modules"):
        Settings(step_modules=modules)


def test_step_modules_are_kept_as_a_tuple() -> None:
    """A list that changes later changes nothing."""
    modules: Any = ["a", "b.c"]
    settings = Settings(step_modules=modules)
    modules.append("d")
    assert settings.step_modules == ("a", "b.c")


def test_settings_can_not_be_changed() -> None:
    """They are validated once."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().max_running = 5  # type: ignore[misc]  # that is the point


def test_the_environment_is_read() -> None:
    """`AWFE_` and the name in capitals; what is empty or of others is not looked at."""
    environ = {
        "AWFE_MAX_RUNNING": "7",
        "AWFE_STOP_GRACE": "0.5",
        "AWFE_RECOVER_EVERY": "60",
        "AWFE_STEP_MODULES": " a.b, c ,",
        "AWFE_POOL_SIZE": "",
        "AWFE_TEST_MYSQL_URL": "mysql://",
        "POLL_INTERVAL": "5",
    }
    settings = Settings.of(None, {}, environ)
    expected = Settings(max_running=7, stop_grace=0.5, recover_every=60.0, step_modules=("a.b", "c"))
    assert settings == expected


def test_keywords_win_over_a_value_and_a_value_over_the_environment() -> None:
    """A given value is whole: the environment does not shine through."""
    environ = {"AWFE_MAX_RUNNING": "7", "AWFE_POOL_SIZE": "7", "AWFE_STOP_GRACE": "7"}
    base = Settings(max_running=8, pool_size=8)
    settings = Settings.of(base, {"max_running": 9}, environ)
    assert (settings.max_running, settings.pool_size, settings.stop_grace) == (9, 8, 10)
    assert Settings.of(None, {"max_running": 9}, environ) == Settings(max_running=9, pool_size=7, stop_grace=7.0)
    assert base == Settings(max_running=8, pool_size=8)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("MAX_RUNNING", "many", "AWFE_MAX_RUNNING='many' is not a number"),
        ("MAX_RUNNING", "2.5", "AWFE_MAX_RUNNING='2.5' is not a number"),
        ("STOP_GRACE", "soon", "AWFE_STOP_GRACE='soon' is not a number"),
        ("STOP_GRACE", "nan", "stop_grace=nan: give a number"),
        ("MAX_RUNNING", "0", "max_running=0: give a whole number"),
    ],
)
def test_a_bad_variable_is_refused(name: str, text: str, problem: str) -> None:
    """The message tells where it comes from, or what it must be."""
    with pytest.raises(ConfigError, match=f"^{problem}"):
        Settings.of(None, {}, {f"AWFE_{name}": text})


def test_an_unknown_setting_is_refused() -> None:
    """The message tells which there are."""
    with pytest.raises(ConfigError, match=r"^unknown setting max_runing, zzz; there are max_running, locks, "):
        Settings.of(None, {"zzz": 1, "max_runing": 5}, {})
