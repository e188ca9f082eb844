"""Http in an engine: its key, what is saved, and what a crash in the middle leaves."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from awfe import Engine, Retry, StepError, StepTimeout
from awfe.steps import ForEach, Http
from tests.conformance.helpers import Start, killed
from tests.web import Answer, Web, serving


@pytest.fixture
async def web(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Web]:
    """Yield a server, that is asked without a proxy."""
    monkeypatch.setenv("NO_PROXY", "*")
    async with serving() as server:
        yield server


def keys(web: Web) -> list[str]:
    """Return the idempotency keys of all requests."""
    return [request.headers["idempotency-key"] for request in web.asked]


async def test_all_attempts_have_one_key_and_a_failure_says_what_was_answered(engine: Engine, web: Web) -> None:
    answers: list[Answer] = [(503, {}, b"not yet"), (503, {}, b"not yet"), (201, {}, b"made")]

    async def next_answer() -> Any:
        return answers.pop(0)

    web.answers["/orders/7"] = next_answer
    order = Http("POST", f"{web.url}/orders/{{id}}", json={"id": "{id}"}, save_as="order")
    await engine.create_workflow("w", {"id": 7}, [order.using(retry=Retry(attempts=2, wait=0)), order])
    with pytest.raises(StepError, match=r"POST http://127\.0\.0\.1:\d+/orders/7 answered 503 Because: not yet"):
        await engine.run("w")
    web.answers["/orders/7"] = (201, {}, b"made")
    workflow = await engine.restart("w")
    assert workflow.context == {"id": 7, "order": {"status": 201, "text": "made"}}
    assert [keys(web)[0]] * 3 == keys(web)[:3]
    assert len(set(keys(web))) == 2
    assert workflow.steps[0].output.endswith("/orders/7: 201\n")


async def test_a_step_that_takes_too_long_is_cut_off(engine: Engine, web: Web) -> None:
    forever = asyncio.Event()
    web.answers["/silent"] = forever.wait
    await engine.create_workflow("w", {}, [Http("GET", f"{web.url}/silent").using(timeout=0.2)])
    with pytest.raises(StepTimeout):
        await engine.run("w")
    forever.set()


async def test_killed_in_the_middle_it_asks_again_with_the_same_key(engine: Engine, web: Web, start: Start) -> None:
    held = asyncio.Event()

    async def hold() -> None:
        await held.wait()

    web.answers["/two"] = hold
    step = Http("POST", f"{web.url}/{{item}}", save_as="told")
    await engine.create_workflow("w", {}, [ForEach(["one", "two", "three"], step, save_as="all")])
    process = await start("run", "w")
    async with asyncio.timeout(60):
        while len(web.asked) < 2:
            await asyncio.sleep(0.01)
    await killed(process)
    held.set()
    del web.answers["/two"]
    assert (await engine.wait("w")).state == "error"
    workflow = await engine.restart("w")
    assert [request.target for request in web.asked] == ["/one", "/two", "/two", "/three"]
    assert keys(web)[1] == keys(web)[2]
    assert len(set(keys(web))) == 3
    assert [each["told"]["status"] for each in workflow.context["all"]] == [200] * 3
