"""A context that a thread uses, and one that no engine made: what they can't do is refused."""

import logging

import pytest

from awfe import Context, InvalidInput
from awfe.domain.step import TransactionalStep


def test_a_thread_neither_saves_nor_begins_workflows() -> None:
    ctx = Context({"a": 1})
    printed: list[str] = []
    with ctx.lent(lambda _output, text: printed.append(text)):
        assert not ctx.stop_requested
        assert ctx.log is logging.getLogger("awfe")
        ctx.output("hello")
        with pytest.raises(InvalidInput, match="a function in a thread can't checkpoint"):
            ctx.checkpoint()
        with pytest.raises(InvalidInput, match="needs an engine"):
            ctx.child("c", {}, [])
        with pytest.raises(InvalidInput, match="needs an engine"):
            ctx.undo_child("c")
    assert printed == ["hello"]


def test_without_an_engine_there_are_no_workflows() -> None:
    ctx = Context()
    with pytest.raises(InvalidInput, match="needs an engine"):
        ctx.child("c", {}, [])
    with pytest.raises(InvalidInput, match="needs an engine"):
        ctx.undo_child("c")


async def test_a_transactional_step_has_to_be_written() -> None:
    with pytest.raises(NotImplementedError):
        await TransactionalStep().work(Context(), None)
