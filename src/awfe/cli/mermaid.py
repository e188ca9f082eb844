"""A workflow as a Mermaid diagram."""

from awfe.domain.records import Workflow
from awfe.domain.states import StepState

_COLOURS = {
    StepState.COMPLETED: "#b7e4c7",
    StepState.RUNNING: "#a9d6f5",
    StepState.WAITING: "#c8eef0",
    StepState.SKIPPED: "#fff3b0",
    StepState.STOPPED: "#ffd6a5",
    StepState.ERROR: "#ffadad",
    StepState.INTERRUPTED: "#ffadad",
    StepState.UNDONE: "#e0bbe4",
}


def diagram(workflow: Workflow) -> str:
    """Return its steps from top to bottom, each in the colour of its state."""
    nodes = [
        f'    s{step.position}["{step.position} {_quoted(step.name)}<br/>{step.state}"]:::{step.state}'
        for step in workflow.steps
    ]
    arrows = [f"    s{step.position} --> s{step.position + 1}" for step in workflow.steps[:-1]]
    used = {step.state for step in workflow.steps}
    colours = [f"    classDef {state} fill:{colour}" for state, colour in _COLOURS.items() if state in used]
    return "\n".join(["flowchart TD", *nodes, *arrows, *colours])


def _quoted(text: str) -> str:
    return "".join(c if c.isalnum() or c in " ._-:" else f"#{ord(c)};" for c in text)
