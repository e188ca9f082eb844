"""What the contract says about what stops a run, or a wait, as a pure model: requests, a cancellation, a crash."""

from dataclasses import replace

from tests.durability.model import Workflow
from tests.durability.model_values import NONE, Change, Line


def ask(workflow: Workflow, verb: str, actor: str | None) -> None:
    """Pause or stop a run, or what waits: that at once."""
    if workflow.state == "waiting":
        _halt_wait(workflow, verb, actor)
        return
    if workflow.state == verb_state(verb):
        if workflow.resumable:
            # Somebody wants it to rest: it is no longer for `recover()` to go on.
            workflow.move(verb, workflow.state, step=workflow.position, actor=actor)
            workflow.resumable, workflow.budget_used, workflow.interrupts = False, 0, 0
        return
    workflow.history.append(Line(verb, "running", "running", step=workflow.at, actor=actor))
    workflow.request = "stop" if workflow.request == "stop" else verb
    workflow.budget_used = workflow.interrupts = 0
    _halt_now(workflow, stop=verb == "stop")


def cancel(workflow: Workflow) -> None:
    """Stop a run by cancelling who awaits it."""
    if workflow.state == "waiting":
        _halt_wait(workflow, "stop", None)
        return
    workflow.halting = "stop"
    _halt_now(workflow, stop=True)


def _halt_wait(workflow: Workflow, verb: str, actor: str | None) -> None:
    if verb == "stop":
        give_up(workflow, "stopped")
        workflow.step_state = "stopped"
    workflow.move(verb, verb_state(verb), step=workflow.at, actor=actor)
    workflow.waiter, workflow.budget_used, workflow.interrupts = None, 0, 0


def give_up(workflow: Workflow, after: str) -> None:
    """End an attempt that waits, with the move that follows."""
    if workflow.step_state != "waiting":
        return
    before, attempt = workflow.state, workflow.attempts[workflow.at]
    workflow._attempt_ended("stopped", NONE)
    workflow.last[workflow.at] = replace(workflow.last[workflow.at], output="")
    workflow.history.append(Line("step_stopped", before, after, step=workflow.at, attempt=attempt))


def _halt_now(workflow: Workflow, *, stop: bool) -> None:
    if workflow.delayed:
        workflow._come_to_rest("halted", str(workflow.halt), "pending")
    elif stop and workflow.deed.yields:
        workflow.end("ok")
    elif stop:
        change = Change.between(workflow.base, workflow.values)
        workflow._attempt_ended("stopped", change)
        workflow._come_to_rest("step_stopped", "stopped", "stopped", change)


def take_over(workflow: Workflow, max_interrupts: int) -> None:
    """Bring an orphan to rest: whoever notices it first does that."""
    wanted = {"pause": "paused", "stop": "stopped", None: "paused"}[workflow.request]
    rerun = workflow.deed.rerun and workflow.interrupts < max_interrupts
    state = wanted if workflow.delayed or rerun else "error"
    step_state = "pending" if workflow.delayed or state == "paused" else "interrupted"
    workflow.resumable = state == "paused" and workflow.request is None
    workflow.revision += 1
    if not workflow.delayed:
        interrupts = workflow.interrupts + 1
        workflow._attempt_ended("interrupted", NONE)
        workflow.interrupts = interrupts
        attempt = workflow.attempts[workflow.at]
        workflow.history.append(Line("step_interrupted", "running", state, step=workflow.at, attempt=attempt))
    workflow.history.append(Line("takeover", "running", state, step=workflow.at, actor="engine"))
    workflow.state, workflow.step_state, workflow.request = state, step_state, None
    workflow.holding = workflow.delayed = False


def verb_state(verb: str) -> str:
    """Return the state that a request leads to."""
    return {"pause": "paused", "stop": "stopped"}[verb]
