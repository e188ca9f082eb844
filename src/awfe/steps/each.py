"""A step for every item of a list."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Self

from awfe import checks
from awfe.domain.context import Context, StepInfo
from awfe.domain.delta import NO_CHANGE, Delta
from awfe.domain.secret import Revealed, Secret
from awfe.domain.step import BaseStep, Policies, called, policies_of
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
    begins. The inner step's `timeout`, `retry` and `on_error` hold for each item. Raises `InvalidInput` for what makes
    no sense.
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
            values = dict(common)
            Delta.of({self.as_: named[label]}).apply(values)
            return await _Item(ctx, progress, label, inner).run(values)

        await fan.run(list(named), act)
        fan.refuse("items", list(named), self.max_failures)
        results = [progress.result(label) for label in named]
        progress.clear()
        if self.save_as is not None:
            ctx[self.save_as] = results
            if fan.failed:
                failed = [{"item": named[label], "error": summary(error)} for label, error in fan.failed.items()]
                ctx[f"{self.save_as}_failed"] = failed


class _Item:
    """One item: the services that its context offers to the inner step, and what that has changed."""

    def __init__(self, ctx: Context, progress: Progress, label: str, inner: BaseStep) -> None:
        self._ctx = ctx
        self._progress = progress
        self._label = label
        self._inner = inner
        self._lines = Lines(f"{label}: ", ctx.output)
        part = ctx.get(progress.part_key(label))
        self._saved = Delta.of(part["set"], part["unset"]) if part else NO_CHANGE

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
        await self._progress.add_part(self._label, part)
        ctx.commit(delta)

    async def run(self, values: dict[str, bytes]) -> dict[str, Any]:
        """Run the inner step, again where its policy says so, and return what it has set."""
        policies = policies_of(self._inner)
        for attempt in count(1):
            try:
                return await self._attempt(attempt, dict(values), policies)
            except Exception as error:
                if attempt >= policies.retry.attempts:
                    raise
                delay = policies.retry.delay(attempt)
                self._lines.add(f"attempt {attempt} failed, the next one begins in {delay:g} s: {summary(error)}\n")
                await asyncio.sleep(delay)
        raise AssertionError  # pragma: no cover - count() has no end

    async def _attempt(self, attempt: int, values: dict[str, bytes], policies: Policies) -> dict[str, Any]:
        outer = self._ctx.step
        info = StepInfo(outer.position, called(self._inner), attempt, f"{outer.key}-{digest(self._label)}")
        self._saved.apply(values)
        ctx = Context.attached(values, self, workflow=self._ctx.workflow, step=info, log=self._ctx.log)
        limit = asyncio.timeout(policies.timeout)
        try:
            async with limit:
                result: object = await self._inner.work(ctx)
        except TimeoutError as error:
            if not limit.expired():
                raise
            msg = f"took longer than its timeout of {policies.timeout:g} s"
            raise TimeoutError(msg) from error
        finally:
            self._lines.end()
        if result is not None:
            msg = f"work returned {result!r:.100}; a step inside a ForEach can't wait, and must return None"
            raise InvalidInput(msg)
        return _plain(self._saved.then(ctx.collect()))


def _plain(delta: Delta) -> dict[str, Any]:
    return {key: decode(bytes(raw)) for key, raw in delta.set.items()}
