"""Runners that live, and are taken for gone all the same."""

from typing import Any

import pytest

from awfe import Engine, LockLost
from tests.conformance.conftest import OpenEngine
from tests.conformance.steps import Hold, Note, Rerun, World


@pytest.mark.databases("mysql", "postgresql")
async def test_a_claim_whose_answer_comes_after_a_takeover_runs_nothing(
    engine: Engine, world: World, open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds its own line, beside the head of who has claimed the workflow since."""
    other = await open_engine()
    await engine.create_workflow("w", {}, [Rerun("one"), Note("two")])
    # A claim is one request, where nothing else is to be written.
    real = engine._database._request

    async def answer_late(work: Any) -> Any:
        done = await real(work)
        if not world.entered["one"].is_set() and (await other.get("w")).state == "running":
            locks: Any = engine._crew.locks
            (held,) = locks.held
            await held.release()
            assert (await other.recover()).started == ("w",)
            await world.entered["one"].wait()
            message = "the answer to COMMIT is lost"
            raise ConnectionResetError(message)
        return done

    monkeypatch.setattr(engine._database, "_request", answer_late)
    with pytest.raises(LockLost, match="taken over while this run began"):
        await engine.run("w")
    assert world.calls == ["one"]
    world.gates["one"].set()
    assert (await other.wait("w")).state == "completed"
    assert world.calls == ["one", "two"]


@pytest.mark.databases("mysql", "postgresql")
async def test_a_runner_that_moves_while_it_is_taken_for_gone_goes_on(
    engine: Engine, world: World, open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was declared of the step at which it was seen does not count for the one at which it is."""
    other = await open_engine()
    await engine.create_workflow("w", {}, [Rerun("one"), Hold("two")])
    handle = await engine.start("w")
    await world.entered["one"].wait()
    locks: Any = engine._crew.locks
    (held,) = locks.held
    await held.release()
    recovery = other._steering._recovery
    real = recovery._declared_rerun

    async def declared(head: Any) -> bool:
        answer = await real(head)
        world.gates["one"].set()
        await world.entered["two"].wait()
        return answer

    monkeypatch.setattr(recovery, "_declared_rerun", declared)
    recovered = await other.recover()
    assert (recovered.started, recovered.refused) == ((), ())
    world.gates["two"].set()
    assert (await handle).state == "completed"
    assert world.calls == ["one", "two"]
