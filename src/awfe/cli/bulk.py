"""One verb on several workflows: a line each, and the exit code of the worst."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from awfe.cli import names
from awfe.cli.exits import Exit, code_of, plain
from awfe.cli.out import Out
from awfe.domain.records import Workflow
from awfe.errors import AwfeError

if TYPE_CHECKING:
    from awfe import Engine

Act = Callable[[str], Awaitable[Workflow | None]]


class Results:
    """What came of a verb, workflow by workflow."""

    def __init__(self, out: Out, done: str = "") -> None:
        """Say what was `done` to each, and the state that it is in; a run is only its state."""
        self._out, self._done = out, done
        self._results: list[dict[str, Any]] = []
        self._worst = Exit.DONE

    def good(self, name: str, workflow: Workflow | None) -> None:
        """Tell that it is done."""
        state = None if workflow is None else workflow.state
        self._results.append({"name": name, "ok": True, "state": state, "error": None})
        told = f"{self._done} (state: {state})" if self._done and state else self._done or state
        self._out.line(f"{name}: {told}")

    def bad(self, name: str, error: AwfeError) -> None:
        """Tell why it is not."""
        self._worst = max(self._worst, code_of(error))
        state = getattr(error, "state", None)
        self._results.append({"name": name, "ok": False, "state": state, "error": plain(error)})
        if not self._out.as_json:
            self._out.note(str(error))

    def end(self) -> Exit:
        """Print the document of them, if programs read, and return the exit code."""
        if self._out.as_json:
            self._out.document({"results": self._results, "exit": self._worst})
        elif not self._results:
            self._out.line("there is none")
        return self._worst


async def each(engine: "Engine", out: Out, chosen: Sequence[str], done: str, act: Act) -> Exit:
    """Do something to each workflow in turn; one that refuses does not keep the others from it."""
    results = Results(out, done)
    for name in chosen:
        try:
            results.good(name, await act(name))
        except AwfeError as error:
            results.bad(name, await names.explained(engine, error))
    return results.end()
