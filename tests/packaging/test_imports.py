"""What `import awfe` costs: the core, and nothing that only some programs need."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.conftest import environment

# Of other distributions, and the helpers that their compiled modules bring.
# No driver is among them, nor anything of an extra.
CORE = {"anyio", "awfe", "cython_runtime", "greenlet", "idna", "msgspec", "sniffio", "sqlalchemy", "typing_extensions"}
# Drivers, and what the extras bring.
SELDOM = {"aiomysql", "aiosqlite", "alembic", "asyncpg", "asyncssh", "cyclopts", "httpx2", "pymysql", "pytest", "rich"}
LIST = """
import sys
before = set(sys.modules)
import {module}
print(*(name for name in sys.modules.keys() - before))
"""


def imported(module: str, installed: Path) -> set[str]:
    """Return the modules that an import brings in, in a process of its own."""
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-W", "error", "-c", LIST.format(module=module)],
        env=environment(installed),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.split())


def foreign(modules: set[str]) -> set[str]:
    """Return the top-level names that are not the standard library's."""
    tops = {name.partition(".")[0] for name in modules}
    return {name for name in tops - sys.stdlib_module_names if not name.startswith("_")}


def test_awfe_imports_its_core_only(installed: Path) -> None:
    modules = imported("awfe", installed)
    assert foreign(modules) <= CORE
    assert not {name for name in modules if name.startswith(("awfe.steps", "awfe.testing", "awfe.cli"))}
    # A module more is no harm; a hundred more are.
    assert len(modules) < 600


@pytest.mark.parametrize("module", ["awfe.engine", "awfe.persistence.migrating", "awfe.steps", "awfe.testing"])
def test_what_has_extras_imports_none_of_them(installed: Path, module: str) -> None:
    assert not foreign(imported(module, installed)) & SELDOM


def test_the_package_is_typed(installed: Path) -> None:
    assert (installed / "awfe" / "py.typed").exists()
