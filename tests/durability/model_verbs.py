"""What the contract says about the verbs, as a pure model: its table, and what each verb makes of a workflow."""

from typing import Final

from tests.durability.model import Workflow
from tests.durability.model_halts import give_up
from tests.durability.model_values import NONE, Change, Values

_ANSWERS: Final = {"yes": "yes", "no": "InvalidState", "lock": "WorkflowLocked", "err": "ErrorState", "rerun": "rerun"}
BAD_INPUT: Final = "InvalidInput"
_STATES: Final = ("pending", "running", "waiting", "paused", "stopped", "error", "completed")


def _row(cells: str) -> dict[str, str]:
    return dict(zip(_STATES, (_ANSWERS[cell] for cell in cells.split()), strict=True))


TABLE: Final = {
    #                     pending running waiting paused stopped error completed
    "run": _row("           yes     lock    yes    yes    rerun   err   yes"),
    "pause": _row("         no      yes     yes    yes    no      no    no"),
    "stop": _row("          no      yes     yes    no     yes     no    no"),
    "reset": _row("         no      lock    no     no     yes     yes   no"),
    "reset_from": _row("    no      lock    no     yes    yes     yes   yes"),
    "skip": _row("          yes     lock    no     yes    yes     yes   no"),
    "update_context": _row("yes     lock    no     yes    yes     yes   no"),
    "signal": _row("        yes     yes     yes    yes    yes     yes   no"),
    "delete": _row("        yes     lock    no     yes    yes     yes   yes"),
}


class Refused(Exception):
    """A call raises an error, and changes nothing."""

    def __init__(self, error: str) -> None:
        """Name the error."""
        super().__init__(error)
        self.error = error


def check(workflow: Workflow, verb: str) -> None:
    """Raise what the table says."""
    answer = TABLE[verb][workflow.state]
    if answer == "rerun":
        answer = "yes" if workflow.deed.rerun and workflow.step_state in ("stopped", "interrupted") else "ErrorState"
    if answer != "yes":
        raise Refused(answer)


def reset(workflow: Workflow, actor: str, values: Values, *, keep: bool) -> None:
    """Make the current step pending again."""
    check(workflow, "reset")
    kept = workflow.unsaved.without(workflow.edited) if keep else NONE
    _changed(workflow, "reset", "paused", actor, (workflow.reached, kept.then(Change(values))))
    workflow.step_state = "pending"


def reset_from(workflow: Workflow, actor: str, values: Values, first: int) -> None:
    """Make each step from the given one on pending again, with the context of then."""
    if not 1 <= first <= len(workflow.deeds):
        raise Refused(BAD_INPUT)
    check(workflow, "reset_from")
    if workflow.position is not None and first > workflow.position:
        raise Refused(_ANSWERS["no"])
    after = "paused" if workflow.started else "pending"
    give_up(workflow, after)
    workflow.layers = [layer for layer in workflow.layers if layer[0] < first]
    workflow.ended = {position: state for position, state in workflow.ended.items() if position < first}
    workflow.by_hand = {position: change for position, change in workflow.by_hand.items() if position < first}
    workflow.reached = min(workflow.reached, first - 1)
    workflow.position, workflow.step_state, workflow.unsaved = first, "pending", NONE
    _changed(workflow, "reset_from", after, actor, (workflow.reached, Change(values)), step=first)
    workflow.resets.append((workflow.revision, first))


def skip(workflow: Workflow, actor: str, values: Values) -> None:
    """Pass over the current step."""
    check(workflow, "skip")
    position, last = workflow.at, workflow.at == len(workflow.deeds)
    give_up(workflow, "completed" if last else "paused")
    workflow.reached = max(workflow.reached, position)
    workflow.ended[position], workflow.by_hand[position] = "skipped", Change(values)
    workflow.unsaved = NONE
    _changed(workflow, "skip", "completed" if last else "paused", actor, (position, Change(values)), step=position)
    workflow.position, workflow.step_state = (None, None) if last else (position + 1, "pending")


def update_context(workflow: Workflow, actor: str, values: Values, unset: frozenset[str]) -> None:
    """Edit the context."""
    check(workflow, "update_context")
    resumable = workflow.resumable
    change = Change(values, unset - values.keys())
    _changed(workflow, "update_context", workflow.state, actor, (workflow.reached, change))
    workflow.edited |= values.keys() | unset
    workflow.resumable = resumable


def _changed(workflow: Workflow, cause: str, after: str, actor: str, layer: tuple[int, Change], **step: int) -> None:
    workflow.layers.append(layer)
    workflow.move(cause, after, actor=actor, change=layer[1], **step)
    workflow.failures = workflow.budget_used = workflow.interrupts = 0
    workflow.resumable = False
