"""The verdict on a chaos run: what the tables say by themselves, and what they say to the journal."""

from pathlib import Path

from awfe.testing.chaos.checker import Comparison
from awfe.testing.chaos.notes import Book, Notes
from awfe.testing.chaos.report import Report
from awfe.testing.histories import histories, snapshot
from awfe.testing.invariants import check


async def judge(url: str, journal: Path, prefix: str, report: Report) -> None:
    """Add to the report what is found, in all workflows whose names begin with `prefix`."""
    book = Book.read(journal)
    report.violations += book.broken
    async with snapshot(url) as connection:
        async for history in histories(connection):
            if not history.name.startswith(prefix):
                continue
            notes = book.workflows.pop(history.name, None) or Notes()
            report.workflows += 1
            report.attempts += len(history.attempts)
            report.committed += sum(line.cause == "step_completed" for line in history.attempts)
            report.takeovers += sum(line.cause == "takeover" for line in history.lines)
            report.acknowledged += notes.created + len(notes.ran)
            report.acknowledged += sum(what == "done" for _, what in notes.asked.values())
            report.verbs.update(notes.asked.values())
            comparison = Comparison(notes, history, book.frozen)
            found = [*check(history), *comparison.problems()]
            report.violations += [f"{history.name!r}: {sentence}" for sentence in found]
            report.late += comparison.late
    for name, notes in book.workflows.items():
        if notes.created or notes.begun or notes.ran:
            report.violations.append(f"lost: {name!r} was acknowledged, and is not there")
