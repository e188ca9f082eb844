"""How things look, without a process: the parts of `show`, `run` and `watch`."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.console import Console, RenderableType

import awfe
from awfe import Changes, ErrorInfo, PlannedStep, StepState, Workflow, WorkflowState, WorkflowStep
from awfe.cli import advice, looks, mermaid, progress, show
from awfe.cli.out import clean

NOW = datetime(2030, 1, 31, 3, tzinfo=UTC)


def step(position: int, state: StepState = StepState.PENDING, name: str = "Do") -> WorkflowStep:
    return WorkflowStep(position, name, "x:Do", {}, state, 0, None, None, Changes(), "", None, None, None)


def workflow(*steps: WorkflowStep, position: int | None = 1) -> Workflow:
    return Workflow("w", WorkflowState.RUNNING, {}, {}, steps, position, None, NOW, None, NOW, None, 1)


def drawn(*parts: RenderableType, width: int = 60) -> str:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    with console.capture() as captured:
        console.print(*parts, sep="\n")
    return captured.get()


def test_a_text_can_not_steer_a_terminal() -> None:
    assert clean("a\x1b[2J\rb\x07\x9b\n\tç✓\u202e") == "a\\x1b[2J\\rb\\x07\\x9b\n\tç✓\\u202e"


@pytest.mark.parametrize(
    ("seconds", "wanted"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (61, "1:01 min"), (3599, "59:59 min"), (7260, "2:01 h")]
)
def test_how_long_it_took(seconds: float, wanted: str) -> None:
    assert looks.span(NOW, NOW + timedelta(seconds=seconds)) == wanted
    assert looks.span(None, None) == ""


def test_neighbours_are_a_range_in_their_order() -> None:
    def planned(*positions: int) -> list[PlannedStep]:
        return [PlannedStep(n, "Do", StepState.COMPLETED, "undo") for n in positions]

    assert advice.numbers(planned(2)) == "2"
    assert advice.numbers(planned(1, 2, 3, 5)) == "1 to 3, 5"
    assert advice.numbers(planned(4, 3, 1)) == "4 to 3, 1"


def test_a_board_shows_the_current_step_on_a_low_terminal() -> None:
    many = workflow(*(step(n) for n in range(1, 101)), position=50)
    lines = drawn(progress.board(many, ["", "printed"], "a note", 14)).splitlines()
    assert len(lines) <= 14
    assert lines[0] == "w running  steps 46 to 53 of 100"
    assert any(line.startswith("50") for line in lines)
    assert [line.rstrip() for line in lines[-2:]] == ["  printed", "a note"]
    assert drawn(progress.board(None, [], "", 14)) == "\n"


def test_a_waiting_step_tells_what_it_waits_for() -> None:
    waiting = replace(step(1, StepState.WAITING), signal="go", due_at=NOW)
    assert "for an approval" in drawn(
        progress.board(workflow(replace(waiting, signal="awfe.approval.1")), [], "", 20), width=100
    )
    assert f"for go until {looks.moment(NOW)}" in drawn(progress.board(workflow(waiting), [], "", 20), width=100)


def test_show_names_the_last_place_and_cuts_what_is_long() -> None:
    trace = (
        'Traceback:\n  File "a.py", line 1, in run\n    go()\n  File "b.py", line 7, in work\n    raise X\nX: no\nwhy\n'
    )
    failed = replace(
        step(1, StepState.ERROR),
        error=ErrorInfo("X", "no\nwhy", trace),
        changes=Changes({"k": "v" * 500}, ("gone",)),
        output="".join(f"line {n}\n" for n in range(50)),
    )
    text = drawn(*show.picture(workflow(failed), []), width=1000)
    assert '  X: no\n  why\n  File "b.py", line 7, in work\n  raise X\n' in text
    assert "… (502 characters)" in text
    assert "gone removed" in text
    assert "| line 29\n" not in text
    assert "| line 30\n" in text


def test_show_tells_nothing_twice_and_no_place_in_awfes_own_steps() -> None:
    place = Path(awfe.__file__).with_name("steps") / "shell.py"
    error = ErrorInfo("E", "ended: b\nIts last output:\na\nb", f'T:\n  File "{place}", line 1, in work\n    raise\n')
    failed = replace(step(1, StepState.ERROR), error=error, output="a\nb\n")
    text = drawn(*show.picture(workflow(failed), []), width=100)
    assert text.endswith("  E: ended: b\n  It printed, in the end:\n  | a\n  | b\n")


def test_what_has_no_room_in_its_column_stands_below() -> None:
    """The last column is the one that says why."""
    rows = [("release 41", "completed", ""), ("release 42", "error", "no room at all is left on the disk of db1")]
    table = looks.table(("NAME", "STATE", "ERROR"), rows)
    assert [line.rstrip() for line in drawn(table, width=70).splitlines()] == [
        "NAME        STATE      ERROR",
        "release 41  completed",
        "release 42  error      no room at all is left on the disk of db1",
    ]
    assert [line.rstrip() for line in drawn(table, width=40).splitlines()] == [
        "NAME        STATE",
        "release 41  completed",
        "release 42  error",
        "    no room at all is left on the disk",
        "    of db1",
    ]


def test_show_tells_that_nobody_runs_it_any_more() -> None:
    assert drawn(*show.picture(workflow(step(1)), [], is_left=True)).splitlines()[0] == "w  running  its runner is gone"


def test_a_diagram_quotes_what_would_break_it() -> None:
    text = mermaid.diagram(workflow(step(1, StepState.COMPLETED, 'a"];x'), step(2)))
    assert text.splitlines()[1] == '    s1["1 a#34;#93;#59;x<br/>completed"]:::completed'
    assert "    s1 --> s2" in text


@pytest.mark.parametrize("width", [24, 200])
def test_a_cell_of_several_lines_is_one_line_of_a_table(width: int) -> None:
    """An actor may have any name, and a driver says what it likes."""
    rows = [("ann\nof ops", "because " * 9), ("bob", "")]
    lines = [line.rstrip() for line in drawn(looks.table(("BY", "WHY"), rows), width=width).splitlines()]
    assert next(line for line in lines if line.startswith("ann")).startswith("ann of ops")
    assert lines[-1] == "bob"
