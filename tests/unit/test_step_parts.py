"""What the steps for many items share: amounts, batches, names, lines."""

import pytest

from awfe import Context, InvalidInput
from awfe.steps import amounts
from awfe.steps.lines import Lines
from awfe.steps.progress import Progress, labels


@pytest.mark.parametrize(
    ("given", "total", "meant"), [(3, 2, 3), ("0%", 9, 0), ("30%", 10, 3), ("30%", 9, 2), ("100%", 7, 7)]
)
def test_an_amount_is_a_number_or_a_percentage(given: int | str, total: int, meant: int) -> None:
    amounts.check("x", given, 0)
    assert amounts.amount(given, total) == meant


@pytest.mark.parametrize("given", [-1, True, 1.0, "1", "101%", "x%", "-1%", "٣%", "1%\n", None, [1]])
def test_other_amounts_are_refused(given: object) -> None:
    with pytest.raises(InvalidInput, match="x="):
        amounts.check("x", given, 0)


@pytest.mark.parametrize(
    ("serial", "sizes"),
    [
        (None, [10]),
        (1, [1] * 10),
        (4, [4, 4, 2]),
        (99, [10]),
        ("30%", [3, 3, 3, 1]),
        ("1%", [1] * 10),
        ([1, "20%", 5], [1, 2, 5, 2]),
    ],
)
def test_batches_are_as_ansible_makes_them(serial: int | str | list[int | str] | None, sizes: list[int]) -> None:
    if serial is not None:
        amounts.check_serial("serial", serial)
    cut = list(amounts.batches(range(10), serial))
    assert [len(batch) for batch in cut] == sizes
    assert [item for batch in cut for item in batch] == list(range(10))
    assert list(amounts.batches([], serial)) == []


@pytest.mark.parametrize("given", [0, "0%", [], [1, 0], [[1]], True])
def test_batches_of_nothing_are_refused(given: object) -> None:
    with pytest.raises(InvalidInput, match="serial="):
        amounts.check_serial("serial", given)


def test_items_are_named_by_what_they_are() -> None:
    assert labels(["a", 1, "1", {"k": [1]}, "a", "a", "a #2", None]) == [
        "a", "1", "1 #2", '{"k":[1]}', "a #2", "a #3", "a #2 #2", "null",
    ]  # fmt: skip
    long = labels(["x" * 1000, "x" * 1001])
    assert len(set(long)) == 2
    assert all(len(label) < 130 for label in long)


async def test_items_that_end_together_are_saved_together() -> None:
    ctx = Context()
    progress = Progress(ctx, None)
    await progress.add_part("a", {"n": 1})
    assert dict(ctx) == {"step@1[a] so far": {"n": 1}}
    await progress.add("a", 1)
    await progress.add("b", 2)
    ctx["else"] = 3
    assert dict(ctx) == {"step@1[a]": 1, "step@1[b]": 2, "else": 3}
    progress.clear()
    assert dict(ctx) == {"else": 3}


def test_lines_are_passed_on_whole() -> None:
    passed: list[str] = []
    lines = Lines("web1: ", passed.append)
    for text in ("one\ntw", "o\n\nthr", "ee"):
        lines.add(text)
    assert passed == ["web1: one\n", "web1: two\n", "web1: \n"]
    lines.end()
    lines.end()
    assert passed[3:] == ["web1: three\n"]
    lines.add("x" * 20_000)
    lines.end()
    assert [len(text) for text in passed[4:]] == [8_199, 8_199, 3_623]
