"""Amounts of a whole: a number, or a percentage of it."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from awfe.errors import InvalidInput

T = TypeVar("T")
_PERCENTAGE = re.compile(r"(\d\d?|100)%", re.ASCII)


def check(what: str, given: Any, least: int) -> None:
    """Refuse what is neither a whole number of at least `least` nor a percentage such as "30%"."""
    if type(given) is int and given >= least:
        return
    if isinstance(given, str) and (found := _PERCENTAGE.fullmatch(given)) and int(found[1]) >= least:
        return
    msg = f'{what}={given!r:.60}: give a whole number of at least {least}, or a percentage such as "30%"'
    raise InvalidInput(msg)


def amount(given: int | str, total: int) -> int:
    """Return how much of the total was meant; a percentage is rounded down."""
    return given if isinstance(given, int) else total * int(given[:-1]) // 100


def check_serial(what: str, given: Any) -> None:
    """Refuse what does not say how large batches are."""
    sizes = given if isinstance(given, list) else [given]
    if not sizes:
        msg = f"{what}=[]: give at least one size"
        raise InvalidInput(msg)
    for size in sizes:
        check(what, size, 1)


def batches(items: Sequence[T], serial: int | str | list[int | str] | None) -> Iterator[Sequence[T]]:
    """Cut a list into batches; of several sizes the last one counts for all that is left, as Ansible's `serial`."""
    sizes = serial if isinstance(serial, list) else [len(items) or 1 if serial is None else serial]
    begin = number = 0
    while begin < len(items):
        size = max(1, amount(sizes[min(number, len(sizes) - 1)], len(items)))
        yield items[begin : begin + size]
        begin, number = begin + size, number + 1
