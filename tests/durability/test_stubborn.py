"""A step that does not end when it is cut short is fenced, keeps its lock until it ends, and costs next to nothing."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from awfe import (
    BaseStep,
    Engine,
    Handle,
    LockLost,
    Retry,
    StepError,
    StepTimeout,
    Workflow,
    WorkflowLocked,
    WorkflowStopped,
)
from awfe.testing.invariants import violations
from tests.databases import Database
from tests.durability.cancel_ways import LIMIT
from tests.durability.stubborn_steps import STUBBORN, TOLD_LATE, Scene, Stubborn

GRACE = 0.05
# Long enough to save what the step saves before it is stubborn.
TIMEOUT = 2.0
SETTINGS: dict[str, Any] = {
    "poll_interval": 1.0,
    "takeover_delay": 0.02,
    "stop_grace": GRACE,
    "shutdown_grace": 5.0,
    "connect_retry_for": 10.0,
    "db_retry_for": 10.0,
}
# In the loop, in a group of tasks, and in a thread.
WAYS = ("swallows", "anyio group", "thread")
# Of a core, while nothing is done but waiting; measured over so many seconds.
SHARE, SECONDS = 0.1, 1.0


@pytest.fixture(autouse=True)
async def scene() -> AsyncIterator[Scene]:
    """Yield what the step of this test and the test tell each other; before the loop ends nothing stays stubborn."""
    Scene.now = Scene()
    yield Scene.now
    Scene.now.open()


async def _begun(engine: Engine, *steps: BaseStep) -> Handle:
    await engine.create_workflow("w", {}, steps)
    handle = await engine.start("w")
    async with asyncio.timeout(LIMIT):
        await Scene.now.entered.wait()
    return handle


async def _share_of_a_core() -> float:
    """Return how much of a core this process uses while it waits, without a look through what earlier tests left."""
    gc.disable()
    try:
        used, since = time.process_time(), time.monotonic()
        await asyncio.sleep(SECONDS)
        return (time.process_time() - used) / (time.monotonic() - since)
    finally:
        gc.enable()


async def _locked(first: Engine, other: Engine) -> None:
    """Every verb that would run or change it is refused, and says where its body is."""
    verbs: list[Callable[[], Any]] = [
        lambda: other.reset("w"),
        lambda: other.skip("w"),
        lambda: other.update_context("w", {"edited": True}),
        lambda: other.delete("w"),
        lambda: first.restart("w"),
    ]
    if (await other.get("w")).state != "error":
        verbs.append(lambda: other.run("w"))
    for verb in verbs:
        with pytest.raises(WorkflowLocked, match=first._crew.owner):
            await verb()


async def _ended(first: Engine, other: Engine, state: str) -> Workflow:
    """Let the body end, and see that nothing of it was saved and that its lock is free."""
    Scene.now.open()
    async with asyncio.timeout(LIMIT):
        while any(first._steering.control):
            await asyncio.sleep(0.001)
    assert isinstance(Scene.now.late, LockLost), "a fenced body can't save anything"
    workflow = await other.get("w")
    assert (workflow.state, workflow.context) == (state, {"begun": True})
    return await other.reset("w")


@pytest.mark.parametrize("way", STUBBORN)
async def test_a_stop_fences_it_and_waits_in_peace(database: Database, scene: Scene, way: str) -> None:
    async with Engine(database.url, **SETTINGS) as first, Engine(database.url, **SETTINGS) as other:
        handle = await _begun(first, Stubborn(way))
        await other.stop("w", GRACE)
        with pytest.raises(WorkflowStopped):
            await handle
        assert (await other.get("w")).state == "stopped"
        await _locked(first, other)
        assert await _share_of_a_core() < SHARE
        assert scene.late is None
        assert (await _ended(first, other, "stopped")).state == "paused"
        # Fenced or not, it does not do what comes next in it as soon as it can be told.
        assert way not in TOLD_LATE or scene.seen == []
    assert await violations(database.url) == []


@pytest.mark.parametrize("way", WAYS)
async def test_a_timeout_fences_it_and_waits_in_peace(database: Database, way: str) -> None:
    """No further attempt begins beside it, though its policy has some left."""
    async with Engine(database.url, **SETTINGS) as first, Engine(database.url, **SETTINGS) as other:
        handle = await _begun(first, Stubborn(way).using(timeout=TIMEOUT, retry=Retry(attempts=5, wait=0)))
        with pytest.raises(StepTimeout):
            await handle
        await _locked(first, other)
        assert await _share_of_a_core() < SHARE
        assert (await _ended(first, other, "error")).state == "paused"
    assert await violations(database.url) == []


@pytest.mark.parametrize("way", WAYS)
async def test_a_close_gives_its_lock_back_and_fences_it(
    database: Database, scene: Scene, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The process is about to end: it does not wait for ever, and what the body still does is lost."""
    async with Engine(database.url, **SETTINGS) as other:
        async with Engine(database.url, **SETTINGS | {"shutdown_grace": GRACE}) as first:
            handle = await _begun(first, Stubborn(way))
        assert "its lock is given back all the same" in caplog.text
        with pytest.raises(StepError, match="interrupted, because the engine was closed"):
            await handle
        assert (await other.reset("w")).state == "paused"
        scene.open()
        async with asyncio.timeout(LIMIT):
            while scene.late is None:
                await asyncio.sleep(0.001)
        assert isinstance(scene.late, LockLost), "a fenced body can't save anything"
        assert (await other.get("w")).context == {"begun": True}
    assert await violations(database.url) == []
