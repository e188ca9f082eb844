"""Writes docs/errors.md: each public error, the code that raises it, and the message that it printed.

python docs/make_errors.py            writes the page
python docs/make_errors.py --check    fails when the page is stale
"""

import asyncio
import contextlib
import inspect
import io
import logging
import re
import sqlite3
import sys
import tempfile
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path

from awfe import (
    AwfeError,
    BaseStep,
    Context,
    Engine,
    StepError,
    WorkflowError,
    WorkflowHalted,
    errors,
    step,
)

PAGE = Path(__file__).with_name("errors.md")
Example = Callable[[Engine], Awaitable[object]]
EXAMPLES: dict[str, Example] = {}
begun, resume = asyncio.Event(), asyncio.Event()
# What a page has room to say, and a docstring has not.
NOTES = {"ConfigError": "Also when the server refuses the user, the password or the database."}
NOTES["WorkflowCorrupt"] = "The others go on: `list`, `recover()` and the poll pass over it, with one line in the log."


# --- steps that the examples use; the page shows them first
class Greet(BaseStep, name="acme.Greet"):
    async def work(self, ctx: Context) -> None:
        ctx["greeting"] = f"hello, {ctx['who']}"  # a KeyError where nobody said who


class Patient(BaseStep, name="acme.Patient"):
    async def work(self, _ctx: Context) -> None:
        begun.set()
        await resume.wait()  # an asyncio.Event, as begun is


def remove_locks() -> None:
    for file in Path().glob("*-awfe-*"):  # what must never be done by hand
        file.unlink()


@step(name="acme.lose_lock")
async def lose_lock(_ctx: Context) -> None:
    remove_locks()
    async with Engine("sqlite:///errors.db", takeover_delay=0) as other:
        await other.wait("nightly")  # sees no runner, and takes the workflow over


# --- end of the steps


def example(function: Example) -> Example:
    """Note the example of the error that the function is named after."""
    EXAMPLES[function.__name__.lstrip("_")] = function
    return function


@example
async def _awfe_error(engine: Engine) -> None:
    try:
        await engine.get("nightly")
    except AwfeError as error:  # the root: catches whatever awfe raises
        print(type(error).__name__, "-", error)


@example
async def _workflow_error(engine: Engine) -> None:
    try:
        await engine.get("nightly")
    except WorkflowError as error:
        print(type(error).__name__, "-", error.workflow)


@example
async def _workflow_exists(engine: Engine) -> None:
    await engine.create_workflow("nightly", {"who": "you"}, [Greet])
    await engine.create_workflow("nightly", {"who": "you"}, [Greet])


@example
async def _workflow_not_found(engine: Engine) -> None:
    await engine.run("nightly")


@example
async def _workflow_locked(engine: Engine) -> None:
    await engine.create_workflow("nightly", {}, [Patient])
    await engine.start("nightly")
    await begun.wait()  # until then it stands in line
    await engine.delete("nightly")


@example
async def _invalid_state(engine: Engine) -> None:
    await engine.create_workflow("nightly", {"who": "you"}, [Greet])
    await engine.run("nightly")
    await engine.pause("nightly")


@example
async def _error_state(engine: Engine) -> None:
    await engine.create_workflow("nightly", {}, [Greet])
    try:
        await engine.run("nightly")
    except StepError:
        await engine.run("nightly")


@example
async def _workflow_halted(engine: Engine) -> None:
    await engine.create_workflow("nightly", {}, [Patient])
    handle = await engine.start("nightly")
    await handle.stop()
    try:
        await handle
    except WorkflowHalted as halted:
        print(type(halted).__name__, "-", halted.state)


@example
async def _workflow_paused(engine: Engine) -> None:
    await engine.create_workflow("nightly", {"who": "you"}, [Patient, Greet])
    handle = await engine.start("nightly")
    await handle.pause()
    resume.set()  # the running step ends, the next does not begin
    await handle


@example
async def _workflow_stopped(engine: Engine) -> None:
    await engine.create_workflow("nightly", {}, [Patient])
    handle = await engine.start("nightly")
    await handle.stop()
    await handle


@example
async def _step_error(engine: Engine) -> None:
    await engine.create_workflow("nightly", {}, [Greet])
    await engine.run("nightly")


@example
async def _step_timeout(engine: Engine) -> None:
    await engine.create_workflow("nightly", {}, [Patient().using(timeout=0.1)])
    await engine.run("nightly")


@example
async def _step_not_found(engine: Engine) -> None:
    await engine.create_workflow("nightly", {"who": "you"}, [Greet])
    with sqlite3.connect("errors.db") as db:  # as if it had been saved under a name that its class no longer has
        db.execute("UPDATE awfe_step SET impl = 'acme.Great'")
    await engine.run("nightly")


@example
async def _workflow_corrupt(engine: Engine) -> None:
    await engine.create_workflow("nightly", {"who": "you"}, [Greet])
    with sqlite3.connect("errors.db") as db:  # as if somebody had mended something by hand
        db.execute("DELETE FROM awfe_step")
    await engine.run("nightly")


@example
async def _lock_lost(engine: Engine) -> None:
    await engine.create_workflow("nightly", {}, [lose_lock])
    await engine.run("nightly")


@example
async def _invalid_input(engine: Engine) -> None:
    await engine.create_workflow("nightly\n", {}, [Greet])


@example
async def _context_error(engine: Engine) -> None:
    await engine.create_workflow("nightly", {"hosts": [{"name": "app1", "tags": ("web", "eu")}]}, [Greet])


@example
async def _config_error(_engine: Engine) -> None:
    Engine("sqlite:///errors.db", max_running=0)


@example
async def _engine_not_open(_engine: Engine) -> None:
    engine = Engine("sqlite:///errors.db")
    await engine.run("nightly")


@example
async def _store_unavailable(_engine: Engine) -> None:
    async with Engine("sqlite:///no/such/directory/errors.db"):
        pass


@example
async def _schema_outdated(_engine: Engine) -> None:
    with sqlite3.connect("errors.db") as db:  # as if a newer awfe had been here
        db.execute("UPDATE awfe_meta SET version = 99")
    async with Engine("sqlite:///errors.db"):
        pass


def public_errors() -> list[type[BaseException]]:
    """Return the errors in the order of the file."""
    return [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.AwfeError)]


def snake(name: str) -> str:
    """Return the name of the example of an error."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


async def shown(error: type[BaseException]) -> str:
    """Return what an example printed or raised; what differs each time is made up."""
    begun.clear()
    resume.clear()
    printed = io.StringIO()
    with tempfile.TemporaryDirectory() as directory, contextlib.chdir(directory), contextlib.redirect_stdout(printed):
        try:
            async with Engine("sqlite:///errors.db", shutdown_grace=0, poll_interval=0.05) as engine:
                await EXAMPLES[snake(error.__name__)](engine)
        except error as raised:
            if type(raised) is not error:
                raise
            print(f"{error.__name__}: {raised}")
    assert printed.getvalue(), error  # noqa: S101 - an example that shows nothing is a mistake in it
    return re.sub(r"\S+:\d+:[0-9a-f]{16}", "app1:4711:9f86d081884c7d65", printed.getvalue().strip())


def section(error: type[BaseException], said: str) -> str:
    """Return the section of one error."""
    source = inspect.getsource(EXAMPLES[snake(error.__name__)])
    code = textwrap.dedent(source.partition(":\n")[2]).strip()
    text = " ".join(filter(None, (inspect.getdoc(error), NOTES.get(error.__name__))))
    return f"## {error.__name__}\n\n{text}\n\n```python\n{code}\n```\n\n```text\n{said}\n```\n"


HEAD = """# Errors

<!-- written by docs/make_errors.py: change that, and run it -->

Every error that awfe raises is an `AwfeError`. A driver's or SQLAlchemy's exception never reaches a caller as itself:
it is the `__cause__`. No message holds a password. Each error is shown with code that raises it, and with what that
printed; the code stands in an async function, with an open `engine`.

```text
{tree}
```

The steps of the examples:

```python
{steps}
```
"""


def page() -> str:
    """Return the page."""
    tree = (inspect.getdoc(errors) or "").partition("\n\n")[2]
    steps = Path(__file__).read_text().partition("shows them first\n")[2].partition("\n\n\n# --- end")[0]
    with asyncio.Runner() as runner:
        sections = [section(each, runner.run(shown(each))) for each in public_errors()]
    return "\n".join((HEAD.format(tree=tree, steps=steps), *sections))


def main() -> int:
    """Write the page, or check it; return the exit status."""
    logging.disable()
    if "--check" not in sys.argv:
        PAGE.write_text(page())
    elif page() != PAGE.read_text():
        print(f"{PAGE.name} is stale: run python docs/{Path(__file__).name}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
