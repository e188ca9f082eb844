"""What `awfe --help` costs: neither SQLAlchemy nor a driver is imported for it."""

import os
import subprocess
import sys

COUNT = """
import sys
from awfe.cli import main
sys.argv = ["awfe", *sys.argv[1:]]
code = main()
heavy = ("sqlalchemy", "aiosqlite", "aiomysql", "pymysql", "asyncpg", "anyio", "greenlet")
sys.stderr.write(f"{code} {sorted({name.partition('.')[0] for name in sys.modules}.intersection(heavy))}")
"""


def test_help_imports_no_database() -> None:
    # Coverage, where it measures processes too, imports greenlet.
    environ = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_")}
    command = [sys.executable, "-c", COUNT, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environ)  # noqa: S603 - our own program
    assert done.stderr == "0 []"
    assert "Exit codes: 0 done, 1 error, 2 usage, 3 a step failed, 4 halted, 5 locked" in done.stdout
    for name in ("create", "run", "list", "show", "history", "plan", "restart", "purge", "doctor", "--import"):
        assert f" {name} " in done.stdout
