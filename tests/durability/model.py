"""What the contract says about a run, as a pure model: its prose once more, in nobody's code but ours.

States, causes and errors are plain names here: the model shares nothing with the engine that is held against it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.durability.model_values import NONE, Begun, Change, Deed, Line, Shown, Values, acted


@dataclass
class Workflow:
    """One workflow as the contract wants it; `runner` is an engine, None for a workflow at rest or an orphan.

    `waiter`: the engine that goes on with it when its signal comes, and in whose name; None when that is gone.
    """

    initial: Values
    deeds: Sequence[Deed]
    state: str = "pending"
    position: int | None = 1
    step_state: str | None = "pending"
    request: str | None = None
    revision: int = 0
    started: bool = False
    resumable: bool = False
    runner: int | None = None
    by: str | None = None
    holding: bool = False
    delayed: bool = False
    halting: str | None = None
    failures: int = 0
    budget_used: int = 0
    interrupts: int = 0
    reached: int = 0
    edited: set[str] = field(default_factory=set)
    unsaved: Change = NONE
    layers: list[tuple[int, Change]] = field(default_factory=list)
    attempts: dict[int, int] = field(default_factory=dict)
    ended: dict[int, str] = field(default_factory=dict)
    last: dict[int, Shown] = field(default_factory=dict)
    by_hand: dict[int, Change] = field(default_factory=dict)
    resets: list[tuple[int, int]] = field(default_factory=list)
    history: list[Line] = field(default_factory=list)
    begun: list[Begun] = field(default_factory=list)
    base: Values = field(default_factory=dict)
    values: Values = field(default_factory=dict)
    saved: Change = NONE
    signals: list[int] = field(default_factory=list)
    waiter: tuple[int, str | None] | None = None

    def __post_init__(self) -> None:
        self.layers.append((0, Change(self.initial)))
        self.history.append(Line("created", None, "pending", change=Change(self.initial), actor="creator"))

    # --- what is seen

    @property
    def at(self) -> int:
        """The position of the current step."""
        assert self.position is not None
        return self.position

    @property
    def deed(self) -> Deed:
        """The current step."""
        return self.deeds[self.at - 1]

    def context(self) -> Values:
        """Return the context as it is now."""
        values: Values = {}
        for _, change in self.layers:
            values = change.on(values)
        return values

    def shown(self) -> Iterator[Shown]:
        """Yield each step as `get` shows it."""
        for position in range(1, len(self.deeds) + 1):
            current = position == self.position
            state = str(self.step_state) if current else self.ended.get(position, "pending")
            attempt = self.attempts.get(position, 0)
            due = current and self.delayed
            if state in ("running", "waiting"):
                output = f"{position}.{attempt};" if state == "waiting" else ""
                yield Shown(state, attempt, begun=True, change=self.saved, output=output)
            elif state == "pending" and not due:
                yield Shown(state, attempt)
            else:
                last = self.last.get(position, Shown(state, attempt))
                change = self.by_hand.get(position, last.change)
                yield replace(last, state=state, attempt=attempt, change=change, due=due)

    # --- what a run does

    def claim(self, engine: int, actor: str | None) -> None:
        """Begin a run, and let it go on until it rests, holds, or waits to try again."""
        if self.state == "waiting" and not self.signals:
            self.waiter = (engine, actor)
            return
        self.move("run", "running", step=self.at, actor=actor)
        self.waiter = None
        self.started, self.runner, self.by, self.resumable = True, engine, actor, False
        self.failures = self.budget_used
        if self.step_state != "waiting":
            self._begin()
        elif self.signals:
            change = Change({"go": self.signals.pop(0)})
            self.layers.append((self.at, change))
            self._attempt_ended("completed", change)
            self._pass("step_completed", change)
        else:
            self._wait(NONE)

    def _begin(self) -> None:
        self.attempts[self.at] = attempt = self.attempts.get(self.at, 0) + 1
        self.step_state, self.saved, self.base = "running", NONE, self.context()
        self.by_hand.pop(self.at, None)
        line = max((revision for revision, first in self.resets if first <= self.at), default=0)
        self.begun.append(Begun(self.at, attempt, self.base, line))
        self.values = acted(self.base, self.deed.first, f"{self.at}.{attempt} first")
        if self.deed.saves:
            self.checkpoint()
        self.values = acted(self.values, self.deed.then, f"{self.at}.{attempt} then")
        end = self.deed.end(attempt)
        self.holding = end == "hold"
        if end == "wait":
            self._wait(Change.between(self.base, self.values))
        elif not self.holding:
            self.end(end)

    def _wait(self, change: Change) -> None:
        """Begin to wait for a signal, and go on at once where it has come already."""
        assert self.runner is not None
        self.saved = self.saved.then(change)
        self.layers.append((self.at, change))
        self.move("step_waiting", "waiting", step=self.at, attempt=self.attempts[self.at], change=change)
        self.step_state, self.reached = "waiting", max(self.reached, self.at)
        self.waiter, self.runner = (self.runner, self.by), None
        if self.signals:
            self.claim(*self.waiter)

    def signal(self, payload: int, actor: str) -> None:
        """Take a signal, now or when it is waited for."""
        self.history.append(Line("signal", self.state, self.state, actor=actor))
        self.signals.append(payload)
        if self.state == "waiting" and self.waiter is not None:
            self.claim(*self.waiter)

    def checkpoint(self) -> None:
        """Save what the step has changed so far."""
        change = Change.between(self.base, self.values)
        self.base = self.values
        self.saved = self.saved.then(change)
        self.move("checkpoint", "running", step=self.at, attempt=self.attempts[self.at], change=change)
        self.layers.append((self.at, change))

    def end(self, how: str) -> None:
        """End the attempt: "ok" or "fail"."""
        self.holding = False
        change = Change.between(self.base, self.values)
        if how == "ok":
            self.layers.append((self.at, change))
            self._attempt_ended("completed", change)
            self._pass("step_completed", change)
            return
        self.failures += 1
        self.budget_used += 1
        again = self.failures < self.deed.tries
        error = f"ValueError: {self.at}.{self.attempts[self.at]} fails"
        if not again and self.deed.skips:
            self._attempt_ended("skipped", change, error)
            self._pass("step_skipped", change)
            return
        self._attempt_ended("error", change, error)
        if not again:
            self._come_to_rest("step_error", "error", "error", change)
        elif self.halt:
            self._come_to_rest("step_error", self.halt, "pending", change)
        else:
            self.move("step_error", "running", step=self.at, attempt=self.attempts[self.at], change=change)
            if self.deed.delay:
                self.step_state, self.delayed = "pending", True
            else:
                self._begin()

    @property
    def halt(self) -> str | None:
        """The state in which the run is to halt."""
        return {"pause": "paused", "stop": "stopped", None: None}[self.halting or self.request]

    def _attempt_ended(self, outcome: str, change: Change, error: str | None = None) -> None:
        attempt = self.attempts[self.at]
        output = f"{self.at}.{attempt};" if outcome != "interrupted" else ""
        shown = self.saved.then(change)
        self.last[self.at] = Shown(outcome, attempt, begun=True, ended=True, change=shown, output=output, error=error)
        self.ended[self.at] = outcome
        self.reached = max(self.reached, self.at)
        self.unsaved = NONE if outcome == "completed" else change
        self.edited.clear()
        if outcome != "interrupted":
            self.interrupts = 0

    def _pass(self, cause: str, change: Change) -> None:
        self.failures = self.budget_used = 0
        if self.at == len(self.deeds):
            self._come_to_rest(cause, "completed", None, change)
            return
        if self.halt:
            self._come_to_rest(cause, self.halt, "pending", change)
        else:
            self.move(cause, "running", step=self.at, attempt=self.attempts[self.at], change=change)
        self.position = self.at + 1
        self.unsaved = NONE
        if self.state == "running":
            self._begin()

    def _come_to_rest(self, cause: str, state: str, step_state: str | None, change: Change = NONE) -> None:
        attempt = None if cause == "halted" else self.attempts[self.at]
        position, request = self.at, self.request
        lapsed = request is not None and state != {"pause": "paused", "stop": "stopped"}[request]
        if cause != "halted" or not lapsed:
            self.move(cause, state, step=position, attempt=attempt, change=change)
        else:
            self.revision += 1
        if lapsed:
            self.history.append(Line("request_lapsed", "running", state, step=position))
        self.state, self.step_state = state, step_state
        self.request = self.runner = self.halting = None
        self.holding = self.delayed = False
        if state == "completed":
            self.position = None

    def move(self, cause: str, after: str, **about: Any) -> None:
        self.revision += 1
        self.history.append(Line(cause, self.state, after, **about))
        self.state = after
