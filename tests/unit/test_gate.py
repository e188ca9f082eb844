"""The gate: verbs come in only while the engine is open, and it waits for those inside."""

import asyncio

import pytest

from awfe.errors import EngineNotOpen
from awfe.execution.gate import Gate


async def test_a_gate_begins_closed() -> None:
    """The message tells how to open the engine."""
    gate = Gate()
    with pytest.raises(EngineNotOpen, match=r"use 'async with Engine\(…\) as engine', or await engine\.open\(\)"):
        gate.check()
    with pytest.raises(EngineNotOpen), gate:
        pytest.fail("nobody may come in")
    await gate.emptied()


async def test_who_is_inside_is_waited_for() -> None:
    """All of them; a gate that closes keeps only newcomers out."""
    gate, leave = Gate(), asyncio.Event()
    gate.is_open = True

    async def verb() -> None:
        with gate:
            await leave.wait()

    async with asyncio.TaskGroup() as tasks:
        inside = [tasks.create_task(verb()) for _ in range(2)]
        await asyncio.sleep(0)
        gate.is_open = False
        emptied = tasks.create_task(gate.emptied())
        inside[0].cancel()
        await asyncio.wait({inside[0]})
        await asyncio.sleep(0)
        assert not emptied.done()
        with pytest.raises(EngineNotOpen):
            gate.check()
        leave.set()
        await emptied
        assert inside[1].done()


async def test_a_verb_that_fails_has_left() -> None:
    """Its error is its own."""
    gate = Gate()
    gate.is_open = True

    async def verb() -> None:
        with gate:
            msg = "its own"
            raise ValueError(msg)

    with pytest.raises(ValueError, match="its own"):
        await verb()
    await gate.emptied()
