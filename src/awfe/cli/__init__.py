"""The command line: a thin face over the engine."""

import os
import sys


def main() -> int:
    """Run `awfe` with the arguments of this process; returns its exit code."""
    _open_what_is_closed()
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


def _open_what_is_closed() -> None:
    """Read from and write to nowhere where a shell has closed a stream, before another file gets its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123 - it stays open to the end of the process
