"""Broken runbooks, each with what a person is told: files of cases.

`=== kind: title`, then the text of the file, `---`, and the messages.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BROKEN = Path(__file__).with_name("broken")
_CASE = re.compile(r"^=== (\w+): (.+)\n((?s:.*?))^---\n((?:runbook\..*\n)*)(?====|\Z)", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """One broken runbook."""

    kind: str
    title: str
    text: str
    messages: str

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"runbook.{self.kind}"


def cases() -> Iterator[tuple[str, Case]]:
    """Yield all cases, each with its name."""
    for path in sorted(BROKEN.glob("*.txt")):
        text = path.read_text()
        found = [Case(*match.groups()) for match in _CASE.finditer(text)]
        assert len(found) == text.count("\n=== ") + 1, path
        for case in found:
            yield f"{path.stem}: {case.title}", case
