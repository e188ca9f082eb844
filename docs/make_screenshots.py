"""Writes docs/screenshots: what `awfe show`, `awfe run` and `awfe watch` look like, drawn by rich.

python docs/make_screenshots.py            writes the pictures
python docs/make_screenshots.py --check    fails when one says something else than the commands do
"""

import asyncio
import io
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

from msgspec.structs import replace
from rich.console import Console, RenderableType

from awfe import BaseStep, Context, Engine, ErrorInfo, StepError, StepState, Workflow, WorkflowState
from awfe.cli import advice, progress, show, watching
from awfe.cli.config import Config
from awfe.cli.out import Out
from awfe.cli.seat import Seat

PICTURES = Path(__file__).with_name("screenshots")
THEN = datetime(2030, 1, 31, 3, 0, tzinfo=UTC)
_TEXT = re.compile(r"<text[^>]*>([^<]*)</text>")


class Backup(BaseStep, name="shots.Backup"):
    async def work(self, ctx: Context) -> None:
        ctx.output("dumping customers\ndumping orders\n")
        ctx["backup"] = "/backups/42.sql"

    async def undo(self, ctx: Context) -> None:
        del ctx["backup"]


class Migrate(BaseStep, name="shots.Migrate"):
    async def work(self, ctx: Context) -> None:
        ctx["looked_at"] = "/var/lib/mysql"
        ctx.output("checking the disk\n")
        if ctx["free_gb"] < ctx["needed_gb"]:
            msg = f"{ctx['free_gb']} GB free, {ctx['needed_gb']} needed"
            raise RuntimeError(msg)


class Announce(BaseStep, name="shots.Announce"):
    async def work(self, ctx: Context) -> None:
        ctx["announced"] = True


def at_once(workflow: Workflow) -> Workflow:
    """Return a workflow with times that are the same in each run, and paths that are the same on each machine."""
    steps = []
    for step in workflow.steps:
        began = THEN + timedelta(minutes=step.position)
        error = None if step.error is None else replace_path(step.error)
        steps.append(
            replace(
                step,
                error=error,
                started_at=step.started_at and began,
                ended_at=step.ended_at and began + timedelta(seconds=12.3 * step.position),
            )
        )
    return replace(workflow, steps=tuple(steps), created_at=THEN, started_at=workflow.started_at and THEN)


def replace_path(error: ErrorInfo) -> ErrorInfo:
    """Return an error whose traceback names a file of the example."""
    return type(error)(
        error.type, error.message, re.sub(r'File "[^"]*", line \d+', 'File "ops/steps.py", line 18', error.traceback)
    )


async def scenes() -> dict[str, Sequence[RenderableType]]:
    """Return what each picture shows."""
    with tempfile.TemporaryDirectory() as directory:
        async with Engine(f"sqlite:///{directory}/shots.db") as engine:
            for name, free in (("release 41", 50), ("release 42", 3), ("release 43", 50)):
                await engine.create_workflow(name, {"free_gb": free, "needed_gb": 10}, [Backup, Migrate, Announce])
            await engine.run("release 41")
            with suppress(StepError):
                await engine.run("release 42")
            found = at_once(await engine.get("release 42"))
            seat = Seat(Config("sqlite:///shots.db"), Out(as_json=False), "ada@desk")
            offers = advice.offers(seat, found, await advice.plans(engine, found))
            summaries = [
                replace(
                    each, created_at=THEN, started_at=each.started_at and THEN, ended_at=THEN + timedelta(minutes=3)
                )
                for each in await engine.list()
            ]
            picture = watching.picture(sorted(summaries, key=lambda each: each.state != "error"), await engine.stats())
    steps = list(found.steps)
    # In the middle of a minute, so that it does not matter how long drawing takes.
    began = datetime.now(UTC) - timedelta(seconds=185.5)
    steps[1] = replace(steps[1], state=StepState.RUNNING, error=None, started_at=began, ended_at=None)
    runs = replace(found, state=WorkflowState.RUNNING, steps=tuple(steps))
    note = "pausing after the current step; Ctrl-C again stops it now"
    tail = ["dumping customers", "dumping orders", "checking the disk"]
    return {"show": show.picture(found, offers), "run": [progress.board(runs, tail, note, 30)], "watch": [picture]}


def svg(name: str, parts: Sequence[RenderableType]) -> str:
    """Return a picture of a terminal."""
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True, highlight=False)
    console.print(*parts, sep="\n")
    drawn = console.export_svg(title=f"awfe {name}", unique_id=f"awfe-{name}")
    # The reader's own font will do: a page of ours asks nobody's server for one.
    return re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.DOTALL)


def said(picture: str) -> list[str]:
    """Return the text of a picture: what else is in it is rich's affair."""
    return [unescape(text).replace("\xa0", " ").strip() for text in _TEXT.findall(picture)]


def main() -> int:
    """Write the pictures, or check them; return the exit status."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    for name, parts in asyncio.run(scenes()).items():
        file, drawn = PICTURES / f"{name}.svg", svg(name, parts)
        if "--check" not in sys.argv:
            PICTURES.mkdir(exist_ok=True)
            file.write_text(drawn)
        elif said(drawn) != said(file.read_text()):
            print(f"{file.name} is stale: run python docs/{Path(__file__).name}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
