"""The commands, and how one of them is run: parsed, done, and its errors told with an exit code."""

import asyncio
import inspect
import shlex
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Group, MissingArgumentError, Parameter, UnusedCliTokensError

import awfe
from awfe.cli import care, context, files, listing, planning, recovering, running, show, verbs, watching
from awfe.cli.asking import Declined
from awfe.cli.exits import INTERRUPTED, Exit, code_of, plain
from awfe.cli.out import Out
from awfe.cli.seat import Here, sit
from awfe.errors import AwfeError

_HELP = """Persisted workflows: run them, see where they stand, mend them, go on.

Exit codes: 0 done, 1 error, 2 usage, 3 a step failed, 4 halted, 5 locked, 6 wrong state, 7 not found."""

app = App(name="awfe", help=_HELP, version=awfe.__version__, help_format="plaintext")
app.suppress_keyboard_interrupt = app.meta.suppress_keyboard_interrupt = False
app.meta.group_parameters = Group("Everywhere", sort_key=100)

_LOOK, _RUN, _MEND, _CARE = (
    Group(name, sort_key=number) for number, name in enumerate(("See", "Run", "Mend", "Care for the database"), 1)
)
_context = App(name="context", help="Show or change the context of a workflow.", group=_MEND)
_db = App(name="db", help="The tables of awfe in the database.", group=_CARE)
app.command(_context)
app.command(_db)
for _app, _group, _name, _function in (
    (app, _LOOK, "list", listing.list_),
    (app, _LOOK, "history", listing.history),
    (app, _LOOK, "watch", watching.watch),
    (app, _LOOK, "show", show.show),
    (app, _LOOK, "plan", planning.plan),
    (app, _RUN, "create", files.create),
    (app, _RUN, "check", files.check),
    (app, _RUN, ("run", "resume"), running.run),
    (app, _RUN, "recover", recovering.recover),
    (app, _RUN, "pause", verbs.pause),
    (app, _RUN, "stop", verbs.stop),
    (app, _RUN, "signal", verbs.signal),
    (app, _RUN, "approve", verbs.approve),
    (app, _RUN, "reject", verbs.reject),
    (app, _MEND, "restart", running.restart),
    (app, _MEND, "reset", planning.reset),
    (app, _MEND, "skip", verbs.skip),
    (app, _MEND, "rollback", running.rollback),
    (app, _CARE, "delete", planning.delete),
    (app, _CARE, "purge", planning.purge),
    (_context, None, "get", context.get),
    (_context, None, "set", context.set_),
    (_context, None, "unset", context.unset),
    (app, _CARE, "doctor", care.doctor),
    (_db, None, "current", care.current),
    (_db, None, "check", care.check),
    (_db, None, "upgrade", care.upgrade),
):
    _app.command(_function, name=_name, group=_group)


@app.command(group=_CARE)
def completion(shell: Literal["bash", "zsh", "fish"], *, seat: Here) -> None:
    """Print the completion script of a shell: `source <(awfe completion bash)`."""
    script = app.meta.generate_completion(prog_name="awfe", shell=shell)
    if seat.out.as_json:
        seat.out.document({"shell": shell, "script": script})
    else:
        sys.stdout.write(script)


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    db: Annotated[str | None, Parameter(help="The database's URL; else AWFE_DATABASE_URL, else awfe.toml.")] = None,
    modules: Annotated[
        list[str] | None, Parameter(name="--import", negative=(), help="A module that defines steps. Repeatable.")
    ] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=(), help="Print one JSON document.")] = False,
    actor: Annotated[str | None, Parameter(help="Who does it, for the history; else who is logged in.")] = None,
) -> int:
    command, bound, injected = app.parse_args(tokens, exit_on_error=False, print_error=False)
    seat = sit(db, modules or [], actor, as_json=as_json) if "seat" in injected else None
    extra = {} if seat is None else {"seat": seat}
    result = command(*bound.args, **bound.kwargs, **extra)
    if inspect.iscoroutine(result):
        result = asyncio.run(result)
    code = int(result or 0)
    return max(code, Exit.ERROR) if seat is not None and seat.out.is_lost else code


def run(arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit code."""
    # Known before the rest can be parsed: a program also wants to read what was wrong with that.
    out = Out(as_json="--json" in arguments)
    code = _done(out, arguments)
    out.flush()
    return max(code, Exit.ERROR) if out.is_lost else code


def _done(out: Out, arguments: Sequence[str]) -> int:
    try:
        code: Any = app.meta(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
        return int(code or 0)
    except CycloptsError as error:
        return _misread(out, error)
    except AwfeError as error:
        if not out.as_json:
            out.note(str(error))
        else:
            out.document({"error": plain(error), "exit": code_of(error)})
        return code_of(error)
    except Declined:
        out.note("nothing was changed")
        return Exit.ERROR
    except KeyboardInterrupt:
        out.note("interrupted")
        return INTERRUPTED
    except OSError as error:
        # Of standard output, when cyclopts prints; of a directory that is gone.
        out.flush()
        if not out.is_lost:
            out.note(str(error))
        return Exit.ERROR


def _said(error: CycloptsError) -> str:
    """Return what is wrong with a command line; where cyclopts speaks of its own affairs, in other words."""
    argument, command = error.argument, " ".join(error.command_chain or ())
    if type(error) is MissingArgumentError and argument is not None:
        if argument.index is not None and argument.name:
            return f"{command!r} needs {argument.name.removeprefix('--').upper()}"
        if argument.tokens or error.keyword:
            return f"{error.keyword or argument.name} needs a value"
        return f"{command!r} needs {argument.name}"
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return f"{command!r} takes no more words: {shlex.join(error.unused_tokens)}"
    return str(error).strip()


def _misread(out: Out, error: CycloptsError) -> int:
    """Tell why a command line can't be read."""
    message = _said(error)
    if out.as_json:
        told = {"type": type(error).__name__, "message": message, "workflow": None, "exit": Exit.USAGE}
        out.document({"error": told, "exit": Exit.USAGE})
    else:
        out.note(message)
        out.hint(f"{' '.join(('awfe', *(error.command_chain or ())))} --help")
    return Exit.USAGE
