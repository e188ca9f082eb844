"""Fills docs/architecture.md with what the code says about states and verbs.

python docs/make_architecture.py            writes it
python docs/make_architecture.py --check    fails when it is stale
"""

import re
import sys
from pathlib import Path

from awfe.domain.states import TRANSITIONS, VERBS, Answer, Verb, WorkflowState, diagram
from awfe.persistence.schema import metadata

PAGE = Path(__file__).with_name("architecture.md")


def cell(verb: Verb, state: WorkflowState) -> str:
    """Return what a verb does in a state, and where that leads."""
    answer = VERBS[verb][state]
    if answer is not Answer.CHANGED:
        return answer.value
    cause = verb.value.replace(" from_step", "_from")
    after = [to for each in TRANSITIONS if each.cause == cause and state in each.before for to in each.after]
    return f"→ {' or '.join(after)}" if after else "yes"


def verbs() -> str:
    """Return the table of verbs and states."""
    rows = [["verb \\ state", *WorkflowState], ["---"] * (len(WorkflowState) + 1)]
    rows += [[f"`{verb}`", *(cell(verb, state) for state in WorkflowState)] for verb in Verb]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def tables() -> str:
    """Return the tables of the schema with their columns."""
    lines = [f"- `{name}`: {', '.join(table.c.keys())}" for name, table in metadata.tables.items()]
    return "\n".join(lines)


def filled(page: str) -> str:
    """Return the page with its generated parts made anew."""
    parts = {"diagram": f"```mermaid\n{diagram()}```", "verbs": verbs(), "tables": tables()}
    for name, text in parts.items():
        begin, end = f"<!-- begin {name}: written by docs/make_architecture.py -->", f"<!-- end {name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        page, count = pattern.subn(lambda _match, new=f"{begin}\n\n{text}\n\n{end}": new, page)  # type: ignore[misc]  # a default argument binds now
        assert count == 1, name  # noqa: S101 - a marker that was lost is a mistake in the page
    return page


def main() -> int:
    """Fill the page, or check it; return the exit status."""
    page = PAGE.read_text()
    made = filled(page)
    if "--check" not in sys.argv:
        PAGE.write_text(made)
        return 0
    if made == page:
        return 0
    print(f"{PAGE.name} is stale: run python docs/{Path(__file__).name}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
