"""The verbs of the model's machine: each is foreseen by the model, done, and compared."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.durability import model, model_halts, model_verbs
from tests.durability.acting import Act, Stage
from tests.durability.bench import MAX_INTERRUPTS
from tests.durability.machine import ACTOR, Machine, crashed
from tests.durability.model_values import Deed, Values
from tests.durability.model_verbs import BAD_INPUT

# Where a verb does something, and what is done instead of one that is refused.
FERTILE = {
    "run": ("pending", "waiting", "paused", "stopped"),
    "ask": ("running", "waiting", "paused"),
    "reset": ("stopped", "error"),
    "reset_from": ("paused", "stopped", "error", "completed"),
    "skip": ("pending", "paused", "stopped", "error"),
    "update_context": ("pending", "paused", "stopped", "error"),
    "signal": ("pending", "running", "waiting", "paused", "stopped", "error"),
    "rollback": ("paused", "stopped", "error", "completed"),
    "create": (),
}
INSTEAD = {
    "pending": "run",
    "running": "ask",
    "waiting": "signal",
    "paused": "run",
    "stopped": "reset",
    "error": "reset",
    "completed": "reset_from",
    "rolled_back": "delete",
}


class Verbs(Machine):
    """All verbs, of an engine and a workflow."""

    calls = 0

    def instead(self, verb: str, name: str) -> str:
        """Return the verb, or another where it would find nothing to do."""
        there = {"tell": self.holding(), "cancel": self.cancellable(), "crash": self.alive()}
        if not there.get(verb, True):
            verb = "run"
        workflow = self.models.get(name)
        self.calls += 1
        if verb == "run" and workflow is not None and workflow.state == "waiting" and workflow.waiter is not None:
            # Who attaches beside others follows them, which is not modelled.
            return "signal"
        # Seldom it is called all the same.
        if verb in there or self.calls % 6 == 0:
            return verb
        if workflow is None:
            return "create"
        refused = verb in FERTILE and workflow.state not in FERTILE[verb] and not self.is_orphan(workflow)
        return INSTEAD[workflow.state] if refused else verb

    @staticmethod
    def is_orphan(workflow: model.Workflow) -> bool:
        """Tell whether a runner is gone."""
        return workflow.state == "running" and workflow.runner is None

    @staticmethod
    def is_ready(workflow: model.Workflow) -> bool:
        """Tell whether what a workflow waits for is there, but nobody who goes on with it."""
        return workflow.state == "waiting" and bool(workflow.signals) and workflow.waiter is None

    def alive(self) -> list[int]:
        """Return the engines that run something."""
        runners = {each.runner for each in self.models.values() if each.runner is not None}
        return sorted(runners | {each.waiter[0] for each in self.models.values() if each.waiter is not None})

    def holding(self) -> list[str]:
        """Return the workflows that hold in an engine that lives."""
        return [name for name, each in self.models.items() if each.holding and each.runner is not None]

    def cancellable(self) -> list[str]:
        """Return the workflows whose `run` somebody awaits."""
        return [name for name, each in self.awaited.items() if each.how == "run"]

    def create(self, engine: int, name: str, *, values: Values, deeds: list[Deed]) -> None:
        steps = [Act.of(deed) for deed in deeds]

        async def act() -> object:
            return await self.engine(engine).create_workflow(name, values, steps, actor="creator")

        if name in self.models:
            self.refused("WorkflowExists", act)
            return
        self.models[name] = model.Workflow(values, deeds)
        self.ages[name] += 1
        self.call(name, act, lambda _: None)

    def run(self, engine: int, name: str, *, how: str) -> None:
        here = self.engine(engine)

        def foresee(workflow: model.Workflow) -> None:
            model_verbs.check(workflow, "run")
            if workflow.state != "completed":
                workflow.claim(engine, ACTOR)

        refused = self.foresee(name, foresee)
        self.planned(lambda: here.plan(name, how), refused)
        if refused is not None:
            self.refused(refused, lambda: getattr(here, how)(name))
            return
        self.follow(
            name,
            engine,
            how,
            here.run(name, actor=ACTOR) if how == "run" else self.bench.run(here.start(name, actor=ACTOR)),
        )
        self.compare(name)

    def ask(self, engine: int, name: str, *, verb: str) -> None:
        def foresee(workflow: model.Workflow) -> None:
            model_verbs.check(workflow, verb)
            model_halts.ask(workflow, verb, ACTOR)

        here = self.engine(engine)
        self.call(name, lambda: getattr(here, verb)(name, actor=ACTOR), foresee, lambda: here.plan(name, verb))

    def tell(self, _engine: int, _name: str, *, which: int, how: str) -> None:
        names = self.holding()
        name = names[which % len(names)]
        workflow = self.models[name]
        if how == "save":
            workflow.checkpoint()
        else:
            workflow.end(how)
        self.bench.run(Stage.now.tell(name, how))
        self.compare(name)

    def cancel(self, _engine: int, _name: str, *, which: int) -> None:
        names = self.cancellable()
        name = names[which % len(names)]
        awaited = self.awaited[name]
        awaited.cancelled = True
        awaited.task.cancel()
        model_halts.cancel(self.models[name])
        self.compare(name)

    def reset(self, engine: int, name: str, *, keep: bool, values: Values, again: bool) -> None:
        self._reset(
            engine,
            name,
            again,
            {"keep_context": keep, "context": values},
            lambda workflow: model_verbs.reset(workflow, ACTOR, values, keep=keep),
        )

    def reset_from(self, engine: int, name: str, *, first: int, keep: bool, values: Values, again: bool) -> None:
        if keep or (name in self.models and first > len(self.models[name].deeds)):
            here = self.engine(engine)
            verb = here.restart if again else here.reset
            given: dict[str, Any] = {"from_step": first, "keep_context": keep, "context": values}
            # What is wrong for every workflow is found before this one is looked for.
            self.planned(
                lambda: here.plan(name, "reset", **given), BAD_INPUT if name in self.models else "WorkflowNotFound"
            )
            self.refused(BAD_INPUT, lambda: verb(name, **given))
            return
        self._reset(
            engine,
            name,
            again,
            {"from_step": first, "context": values},
            lambda workflow: model_verbs.reset_from(workflow, ACTOR, values, first),
        )

    def _reset(
        self,
        engine: int,
        name: str,
        again: bool,  # noqa: FBT001 - what Hypothesis has drawn
        given: dict[str, Any],
        foresee: Callable[[model.Workflow], None],
    ) -> None:
        here = self.engine(engine)
        if not again:
            self.call(
                name,
                lambda: here.reset(name, actor=ACTOR, **given),
                foresee,
                lambda: here.plan(name, "reset", **given),
            )
            return

        def restart(workflow: model.Workflow) -> None:
            foresee(workflow)
            workflow.claim(engine, ACTOR)

        refused = self.foresee(name, restart)
        self.planned(lambda: here.plan(name, "restart", **given), refused)
        if refused is not None:
            self.refused(refused, lambda: here.restart(name, actor=ACTOR, **given))
            return
        self.follow(name, engine, "run", here.restart(name, actor=ACTOR, **given))
        self.compare(name)

    def skip(self, engine: int, name: str, *, values: Values) -> None:
        here = self.engine(engine)
        self.call(
            name,
            lambda: here.skip(name, context=values, actor=ACTOR),
            lambda workflow: model_verbs.skip(workflow, ACTOR, values),
            lambda: here.plan(name, "skip", context=values),
        )

    def update_context(self, engine: int, name: str, *, values: Values, unset: frozenset[str]) -> None:
        here = self.engine(engine)
        self.call(
            name,
            lambda: here.update_context(name, values, unset, actor=ACTOR),
            lambda workflow: model_verbs.update_context(workflow, ACTOR, values, unset),
            lambda: here.plan(name, "update_context", values=values, unset=unset),
        )

    def rollback(self, engine: int, name: str) -> None:
        here = self.engine(engine)
        self.call(
            name,
            lambda: here.rollback(name, actor=ACTOR),
            lambda workflow: model_verbs.roll_back(workflow, ACTOR),
            lambda: here.plan(name, "rollback"),
        )

    def signal(self, engine: int, name: str, *, payload: int) -> None:
        def foresee(workflow: model.Workflow) -> None:
            model_verbs.check(workflow, "signal")
            if workflow.state == "waiting":
                self.woken.add(name)
            workflow.signal(payload, ACTOR)

        # It is stored whether somebody runs the workflow or not.
        here = self.engine(engine)
        self.call(
            name,
            lambda: here.signal(name, "go", payload, actor=ACTOR),
            foresee,
            lambda: here.plan(name, "signal", topic="go", payload=payload),
            settles=False,
        )

    def delete(self, engine: int, name: str) -> None:
        if name in self.models:
            self.bench.run(self.compare_history(name))

        def foresee(workflow: model.Workflow) -> None:
            model_verbs.check(workflow, "delete")
            del self.models[name]

        here = self.engine(engine)
        self.call(name, lambda: here.delete(name, actor=ACTOR), foresee, lambda: here.plan(name, "delete"))

    def recover(self, engine: int, _name: str) -> None:
        orphans = [name for name, each in self.models.items() if self.is_orphan(each)]
        for name in orphans:
            model_halts.take_over(self.models[name], MAX_INTERRUPTS)
        refused = {name for name in orphans if self.models[name].state == "error"}
        started = {name for name, each in self.models.items() if each.resumable or self.is_ready(each)}
        recovered = self.bench.run(self.engine(engine).recover())
        assert (set(recovered.started), set(recovered.refused)) == (started, refused)
        for name in started:
            self.models[name].claim(engine, "engine")
            self.follow(name, engine, "wait", self.engine(engine).wait(name))
        for name in started | refused:
            self.compare(name)

    def wait(self, engine: int, name: str) -> None:
        workflow = self.models.get(name)
        if workflow is None or (workflow.runner is None and workflow.state != "waiting"):
            self.call(name, lambda: self.engine(engine).wait(name), lambda _: None)
            return
        with pytest.raises(TimeoutError):
            self.bench.run(self.engine(engine).wait(name, 0.01))

    def crash(self, engine: int, _name: str) -> None:
        engine = self.alive()[engine % len(self.alive())]
        self.bench.crash(engine)
        for name, workflow in self.models.items():
            if engine not in (workflow.runner, workflow.waiter and workflow.waiter[0]):
                continue
            workflow.runner = workflow.waiter = None
            Stage.now.held.pop(name, None)
            if name in self.awaited:
                self.bench.run(crashed(self.awaited.pop(name)))
            self.compare(name)
