"""The line before the places of an engine."""

from awfe.execution.line import Line


async def test_who_finds_a_free_place_has_it_at_once() -> None:
    """The others wait."""
    line = Line(2)
    first, second, third = line.join(), line.join(), line.join()
    assert first.result()
    assert second.result()
    assert not third.done()


async def test_first_come_first_served() -> None:
    """A place that is given back goes to the first in line."""
    line = Line(1)
    line.join()
    second, third = line.join(), line.join()
    line.give_back()
    assert second.result()
    assert not third.done()
    line.give_back()
    assert third.result()


async def test_a_place_that_nobody_waits_for_is_free_again() -> None:
    """And no place is made of nothing."""
    line = Line(1)
    line.join()
    line.give_back()
    assert line.join().result()
    assert not line.join().done()


async def test_who_squeezes_in_takes_a_place_that_is_not_there() -> None:
    """What belongs to a run that has one never waits for it, and nobody else comes in sooner for that."""
    line = Line(1)
    line.join()
    assert line.squeeze_in().result()
    waiting, behind = line.join(), line.join()
    assert not waiting.done()
    line.give_back()
    assert not waiting.done()
    line.give_back()
    assert waiting.result()
    assert not behind.done()
    line.give_back()
    assert behind.result()
    line.give_back()
    assert line.join().result()
    assert not line.join().done()


async def test_who_leaves_is_told_so_and_holds_nothing() -> None:
    """The place goes to the one behind."""
    line = Line(1)
    line.join()
    second, third = line.join(), line.join()
    assert line.leave(second)
    assert second.result() is False
    line.give_back()
    assert third.result()


async def test_nobody_leaves_whose_turn_it_was() -> None:
    """He has to give his place back."""
    line = Line(1)
    first = line.join()
    assert not line.leave(first)
    assert first.result()
    second = line.join()
    line.leave(second)
    assert not line.leave(second)


async def test_who_was_cancelled_in_line_is_passed_over() -> None:
    """A place is not lost to somebody who is gone."""
    line = Line(1)
    line.join()
    second, third = line.join(), line.join()
    second.cancel()
    assert not line.leave(second)
    line.give_back()
    assert third.result()
    third_place_again = line.join()
    line.give_back()
    assert third_place_again.result()
    line.give_back()
    assert line.join().result()


async def test_when_all_in_line_are_gone_the_place_is_free() -> None:
    """For whoever comes next."""
    line = Line(1)
    line.join()
    line.join().cancel()
    line.give_back()
    assert line.join().result()
