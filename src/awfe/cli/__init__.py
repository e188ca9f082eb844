"""The command line: a thin face over the engine."""

import sys


def main() -> int:
    """Run `awfe` with the arguments of this process; returns its exit code."""
    try:
        from awfe.cli.app import run  # noqa: PLC0415 - what it needs may not be installed

        return run(sys.argv[1:])
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        if error.name not in ("cyclopts", "rich"):
            raise
        sys.stderr.write(f"awfe: the command line needs {error.name}: pip install 'awfe[cli]'\n")
        return 1
