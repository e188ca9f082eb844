"""A step for every item of a list."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Self

from awfe import checks
from awfe.domain.context import Context, StepInfo
from awfe.domain.delta import NO_CHANGE, Delta
from awfe.domain.encoded import Encoded
from awfe.domain.secret import Revealed, Secret
from awfe.domain.services import Log
from awfe.domain.step import BaseStep, Policies, called, can_undo, face_for, policies_of
from awfe.domain.values import decode
from awfe.errors import InvalidInput
from awfe.steps import amounts, given, nested
from awfe.steps.fan import Fan, summary
from awfe.steps.lines import Lines
from awfe.steps.progress import Progress, digest, labels


@dataclass
class ForEach(BaseStep, name="awfe.ForEach"):
    """Runs a step for every item of a list, `limit` at once; after a restart only for those that are not done.

    `items` is a list or the key of one in the context. The inner `step` finds its item under the key `as_`, and all
    else as it was when this step began; what it sets is in the list under `save_as`, at the item's place, and nowhere
    else. More than `max_failures` failed items (a number, or a percentage of all) fail the step, and no further one
    begins. The inner step's `timeout`, `retry` and `on_error` hold for each item. Where it has an `undo` a rollback
    calls that for each item that is done, the last first; for that they stay in the context, as `ForEach@N done`.
    Raises `InvalidInput` for what makes no sense.
    """

    items: str | list[Any]
    step: Any
    limit: int = field(default=1, kw_only=True)
    max_failures: int | str = field(default=0, kw_only=True)
    as_: str = field(default="item", kw_only=True)
    save_as: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Keep the inner step as it is saved."""
        given.key_or_list("items", self.items)
        self.step = nested.saved(self.step)
        checks.whole("limit", self.limit)
        amounts.check("max_failures", self.max_failures, 0)
        given.key("as_", self.as_, optional=False)
        given.key("save_as", self.save_as)

    def using(self, **policies: Any) -> Self:
        """Return the same step with policies of its own; `rerun` only where the inner step is declared so, too."""
        made = super().using(**policies)
        inner = nested.load(self.step)
        if policies_of(made).rerun and not policies_of(inner).rerun:
            msg = f'ForEach: on_interrupt="rerun" would repeat {type(inner).__qualname__}, which is not declared so'
            raise InvalidInput(msg)
        return made

    @property
    def is_undoable(self) -> bool:
        """Whether the inner step has an `undo`."""
        return can_undo(nested.load(self.step))

    async def work(self, ctx: Context) -> None:
        """Run the inner step for what is not done."""
        items = given.listed(ctx, "items", self.items)
        named = dict(zip(labels(items), items, strict=True))
        progress = Progress(ctx, self.save_as)
        inner = nested.opened(nested.load(self.step), ctx)
        skips = policies_of(inner).on_error == "skip"
        fan = Fan(progress, self.limit, len(items) if skips else amounts.amount(self.max_failures, len(items)))
        # What is done of this step is nobody's business in it: a ForEach inside would take it for its own.
        common = ctx.snapshot()
        for key in progress.keys:
            del common[key]

        async def act(label: str) -> dict[str, Any]:
            values = Encoded(common)
            Delta.of({self.as_: named[label]}).apply(values)
            part = ctx.get(progress.part_key(label))
            saved = Delta.of(part["set"], part["unset"]) if part else NO_CHANGE
            save = partial(progress.add_part, label)
            return await _Item(ctx, label, inner, inner.work, saved, save).run(values)

        await fan.run(list(named), act)
        fan.refuse("items", list(named), self.max_failures)
        results = [progress.result(label) for label in named]
        if self.is_undoable:
            ctx[_record(ctx)] = _done(progress, named)
        progress.clear()
        if self.save_as is not None:
            ctx[self.save_as] = results
            if fan.failed:
                failed = [{"item": named[label], "error": summary(error)} for label, error in fan.failed.items()]
                ctx[f"{self.save_as}_failed"] = failed

    async def undo(self, ctx: Context) -> None:
        """Undo what is done, one item after the other, the last first; after a restart what is left of it."""
        record = _record(ctx)
        if record not in ctx:
            # It has not come to its end.
            items, progress = given.listed(ctx, "items", self.items), Progress(ctx, self.save_as)
            ctx[record] = _done(progress, dict(zip(labels(items), items, strict=True)))
            progress.clear()
        inner = nested.opened(nested.load(self.step), ctx)

        async def save(part: dict[str, Any]) -> None:
            ctx[record][-1].update(part)
            await ctx.checkpoint()

        while ctx[record]:
            last = ctx[record][-1]
            values = ctx.snapshot()
            # As in `work`: a ForEach inside has one of its own.
            del values[record]
            Delta.of({self.as_: last["item"]}).apply(values)
            saved = Delta.of(last["set"], last["unset"])
            await _Item(ctx, labels([last["item"]])[0], inner, inner.undo, saved, save).run(values)
            ctx[record].pop()
            await ctx.checkpoint()
        del ctx[record]


def _record(ctx: Context) -> str:
    return f"{ctx.step.name}@{ctx.step.position} done"


def _done(progress: Progress, named: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the items that are done, and what each has set."""
    done = [(item, progress.result(label)) for label, item in named.items() if label in progress]
    # Of what an operator has done by hand it may be anything.
    return [{"item": item, "set": result if isinstance(result, dict) else {}, "unset": []} for item, result in done]


class _Item:
    """One item: the services that its context offers to the inner step, and what that has changed.

    `do` is the inner step's `work` or `undo`; `save` keeps a part of what that has changed.
    """

    def __init__(
        self,
        ctx: Context,
        label: str,
        inner: BaseStep,
        do: Callable[[Context], Awaitable[object]],
        saved: Delta,
        save: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        self._ctx = ctx
        self._label = label
        self._inner = inner
        self._do = do
        self._lines = Lines(f"{label}: ", ctx.output)
        self._saved = saved
        self._save = save

    @property
    def log(self) -> Log:
        return self._ctx.log

    @property
    def stop_requested(self) -> bool:
        return self._ctx.stop_requested

    def output(self, text: str) -> None:
        self._lines.add(text)

    def child(self, name: str, context: Mapping[str, Any], steps: Sequence[Any]) -> Awaitable[Any]:
        return self._ctx.child(name, context, steps)

    def undo_child(self, name: str) -> Awaitable[None]:
        return self._ctx.undo_child(name)

    def secret(self, secret: Secret) -> Revealed:
        return self._ctx.services.secret(secret)

    def inspect(self, delta: Delta) -> None:
        self._ctx.services.inspect(delta)

    def checkpoint(self, ctx: Context) -> Awaitable[None]:
        return self._checkpoint(ctx)

    async def _checkpoint(self, ctx: Context) -> None:
        delta = ctx.collect()
        self._saved = self._saved.then(delta)
        part = {"set": _plain(self._saved), "unset": list(self._saved.unset)}
        await self._save(part)
        ctx.commit(delta)

    async def run(self, values: Encoded) -> dict[str, Any]:
        """Run the inner step, again where its policy says so, and return what it has set."""
        policies = policies_of(self._inner)
        for attempt in count(1):
            try:
                return await self._attempt(attempt, Encoded(values), policies)
            except Exception as error:
                if attempt >= policies.retry.attempts:
                    raise
                delay = policies.retry.delay(attempt)
                self._lines.add(f"attempt {attempt} failed, the next one begins in {delay:g} s: {summary(error)}\n")
                await asyncio.sleep(delay)
        raise AssertionError  # pragma: no cover - count() has no end

    async def _attempt(self, attempt: int, values: Encoded, policies: Policies) -> dict[str, Any]:
        outer = self._ctx.step
        info = StepInfo(outer.position, called(self._inner), attempt, f"{outer.key}-{digest(self._label)}")
        self._saved.apply(values)
        face = face_for(self._inner)
        ctx = Context.attached(values, self, face, workflow=self._ctx.workflow, step=info)
        ctx.settle()
        limit = asyncio.timeout(policies.timeout)
        try:
            async with limit:
                result = await self._do(ctx)
        except TimeoutError as error:
            if not limit.expired():
                raise
            msg = f"took longer than the item's timeout of {policies.timeout:g} s"
            raise TimeoutError(msg) from error
        finally:
            self._lines.end()
        if result is not None:
            msg = f"it returned {result!r:.100}; a step inside a ForEach can't wait, and must return None"
            raise InvalidInput(msg)
        return _plain(self._saved.then(ctx.collect()))


def _plain(delta: Delta) -> dict[str, Any]:
    return {key: decode(bytes(raw)) for key, raw in delta.set.items()}
