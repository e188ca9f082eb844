"""How saved steps differ from those of a program."""

from dataclasses import dataclass

from awfe import BaseStep, Context
from awfe.domain import step
from awfe.domain.differences import compare


@dataclass
class Send(BaseStep, name="tests.differences.Send"):
    """Sends something."""

    to: str

    async def work(self, _ctx: Context) -> None:
        """Send it."""


@dataclass
class Clean(BaseStep, name="tests.differences.Clean"):
    """Cleans up."""

    async def work(self, _ctx: Context) -> None:
        """Do so."""


def differences(saved: list[BaseStep], given: list[BaseStep]) -> list[tuple[str, int | None, int | None]]:
    """Return what differs, and where it was and is."""
    left, right = ([step.save(at, each) for at, each in enumerate(side, 1)] for side in (saved, given))
    return [(each.kind, each.before, each.after) for each in compare(left, right).steps]


def test_what_has_moved_is_reordered_also_with_other_arguments() -> None:
    assert differences([Send("ann"), Clean(), Clean()], [Clean(), Clean(), Send("ann")]) == [("reordered", 1, 3)]
    assert differences([Send("ann"), Clean(), Clean()], [Clean(), Clean(), Send("bob")]) == [("reordered", 1, 3)]


def test_what_has_none_of_its_kind_is_removed_or_added() -> None:
    assert differences([Send("ann")], [Clean()]) == [("added", None, 1), ("removed", 1, None)]
