"""Steps made of what a runbook says of them."""

import re
from typing import Any, Final, NamedTuple

from awfe.domain.retry import Retry
from awfe.domain.step import BaseStep, TransactionalStep, save
from awfe.errors import AwfeError, InvalidInput
from awfe.runbooks.code import Code
from awfe.runbooks.fitting import fit_keys, kind
from awfe.runbooks.keys import KINDS, Common, names
from awfe.runbooks.known import Known
from awfe.runbooks.nodes import Node
from awfe.runbooks.problems import Path, Report, meant
from awfe.steps import Approval, Assert, Delay, ForEach, Http, OnHosts, SetContext, Shell, Sql, SubWorkflow

_POLICIES: Final = tuple(names(Common))


class Made(NamedTuple):
    """Which class a step is of, what it calls otherwise than the file does, and values that it surely takes."""

    cls: type[BaseStep]
    renamed: dict[str, str]
    sample: dict[str, Any]

    def own(self, key: str) -> str:
        """Return what the class calls a key."""
        return self.renamed.get(key, key)


_CLASSES: Final[dict[str, Made]] = {
    "shell": Made(Shell, {"shell": "command"}, {"command": "true"}),
    "hosts": Made(OnHosts, {}, {"hosts": "hosts", "command": "true"}),
    "http": Made(Http, {"http": "url"}, {"method": "GET", "url": "http://localhost"}),
    "sql": Made(Sql, {"sql": "statement"}, {"statement": "SELECT 1"}),
    "sleep": Made(Delay, {"sleep": "seconds"}, {}),
    "approval": Made(Approval, {"approval": "prompt"}, {"prompt": "?"}),
    "foreach": Made(ForEach, {"foreach": "items", "as": "as_"}, {"items": [], "step": Shell("true")}),
    "assert": Made(Assert, {"assert": "expression"}, {"expression": "True"}),
    "set": Made(SetContext, {"set": "values"}, {}),
    "subworkflow": Made(SubWorkflow, {"subworkflow": "name"}, {"name": "name", "steps": [Shell("true")]}),
}
# What makes sense with others only.
_TOGETHER: Final = ("sql", "params", "unset")
# An error that begins with the call that raised it.
_CALL: Final = re.compile(r"\A\w+\(.*?\): ")
_WAITS: Final = ("sleep", "approval", "subworkflow")


class Builder:
    """Makes the steps of one file."""

    def __init__(self, report: Report) -> None:
        """Begin without any module."""
        self._report = report
        self.code = Code(report)

    def steps(self, node: Node | list[Node], path: Path, known: Known) -> list[BaseStep]:
        """Make a list of steps, without those that can't be made."""
        nodes = node if isinstance(node, list) else node.value
        lines: dict[str, int] = {}
        made = []
        for n, each in enumerate(nodes):
            step = self.step(each, (*path, n), known)
            made += [step] if step is not None else []
            name = each.value.get("name") if isinstance(each.value, dict) else None
            if name is not None and isinstance(name.value, str):
                if name.value in lines:
                    problem = f"{name.value!r:.60} is the name of the step in line {lines[name.value]}, too"
                    self._report.add(name.line, (*path, n, "name"), problem)
                lines.setdefault(name.value, name.line)
        return made

    def step(self, node: Node, path: Path, known: Known, *, inside: bool = False) -> BaseStep | None:
        """Make a step, and note what it sets; None when it can't be made."""
        found_kind = self._kind(node, path)
        if found_kind is None:
            return None
        found = fit_keys(node, KINDS[found_kind], path, self._report) or {}
        if inside:
            self._check_inside(found_kind, node, path)
        known.check(found_kind, node, path)
        policies = {key: found.pop(key) for key in _POLICIES if key in found}
        if found_kind in _CLASSES:
            self._nested(found, path, known)
            step = self._made(found_kind, found, node, path)
        else:
            step = self.code.step(found_kind, found, node, path)
        if isinstance(step, Sql):
            for name in step.names:
                if name not in (step.params or {}):
                    known.read(name, node.line_of("sql"), (*path, "sql"), f":{name}")
        if inside and isinstance(step, TransactionalStep) and step.is_transactional:
            hint = "give url" if found_kind == "sql" else "take another"
            problem = f"a step inside a foreach has no transaction of the engine: {hint}"
            self._report.add(node.line_of(found_kind), (*path, found_kind), problem)
        known.learn(found_kind, node)
        # Policies are looked at, whatever becomes of the step.
        finished = self._finished(step or Shell("true"), policies, node, path)
        return None if step is None else finished

    def _kind(self, node: Node, path: Path) -> str | None:
        if not isinstance(node.value, dict):
            self._report.add(node.line, path, f"is {kind(node)}; give a step: a mapping with one of {', '.join(KINDS)}")
            return None
        kinds: list[str] = [key for key in node.value if key in KINDS]
        if len(kinds) == 1:
            return kinds[0]
        if kinds:
            self._report.add(node.line, path, f"is {' and '.join(kinds)} at once; make a step of each")
            return None
        others = [key for key in node.value if key not in _POLICIES]
        hints = [hint for key in others if (hint := meant(key, KINDS)).startswith("did")]
        hint = f"there is {', '.join(map(repr, others))}; " if others else ""
        self._report.add(node.line, path, f"has none of {', '.join(KINDS)}; {hint}{''.join(hints[:1])}".rstrip("; "))
        return None

    def _check_inside(self, found_kind: str, node: Node, path: Path) -> None:
        line = node.line_of(found_kind)
        if found_kind in _WAITS:
            self._report.add(line, (*path, found_kind), "a step inside a foreach can't wait: take another")
        if "name" in node.value:
            self._report.add(node.line_of("name"), (*path, "name"), "a step inside a foreach has no name: leave it out")

    def _nested(self, found: dict[str, Any], path: Path, known: Known) -> None:
        """Make the steps that a step has."""
        if isinstance(found.get("step"), Node):
            inner = known.inside(found.get("as", "item"))
            found["step"] = self.step(found["step"], (*path, "step"), inner, inside=True)
        if isinstance(found.get("steps"), list):
            inner = known.inside(only=set(found["context"])) if "context" in found else known.inside()
            found["steps"] = self.steps(found["steps"], (*path, "steps"), inner)

    def _made(self, found_kind: str, found: dict[str, Any], node: Node, path: Path) -> BaseStep | None:
        """Make a step of its values: first of each by itself, so that each may tell what is wrong."""
        made = _CLASSES[found_kind]
        values: dict[str, Any] = {}
        for key, value in found.items():
            if value is None:
                continue
            given = {made.own(key): value}
            if key == "http":
                method, _, url = value.strip().partition(" ")
                given = {"method": method, "url": url.strip()} if url else {"method": "GET", "url": method}
            if key not in _TOGETHER:
                self._try(made, made.sample | given, node, path, key)
            if not self._report.has((*path, key)):
                values |= given
        needed = [key for key, each in names(KINDS[found_kind]).items() if each.required]
        broken = [key for key in node.value if self._report.has((*path, key))]
        if any(found.get(key) is None or key in broken for key in needed) or (broken and found_kind == "sql"):
            return None
        whole = self._try(made, values, node, path, None)
        return None if broken else whole

    def _try(self, made: Made, values: dict[str, Any], node: Node, path: Path, key: str | None) -> BaseStep | None:
        try:
            return made.cls(**values)
        except AwfeError as error:
            if key is None:
                named = [each for each in node.value if str(error).startswith(made.own(each))]
                key = next((each for each in (*named, *node.value) if each in named or each in KINDS), None)
            self._refuse(error, [made.cls.__qualname__, made.own(key or "")], node, path, key)
            return None

    def _refuse(self, error: Exception, called: list[str], node: Node, path: Path, key: str | None) -> None:
        """Tell what a step said of a value, without what it calls that, where nothing has been told of it yet."""
        message = _CALL.sub("", str(error))
        for name in called:
            for end in (": ", "=", " "):
                message = message.removeprefix(name + end)
        where = path if key is None else (*path, key)
        if not self._report.said(where, message):
            self._report.add(node.line if key is None else node.line_of(key), where, message)

    def _finished(self, step: BaseStep, policies: dict[str, Any], node: Node, path: Path) -> BaseStep | None:
        """Give a step its policies and its name."""
        if isinstance(policies.get("retry"), dict | int):
            policies["retry"] = self._retry(policies["retry"], node.value["retry"], (*path, "retry"))
        for key, value in policies.items():
            if value is None:
                continue
            try:
                step = step.named(value) if key == "name" else step.using(**{key: value})
            except InvalidInput as error:
                self._refuse(error, [type(step).__qualname__, key], node, path, key)
        try:
            save(1, step)
        except InvalidInput as error:
            if not self._report.has(path):
                self._report.add(node.line, path, str(error).removeprefix(f"step 1 ({type(step).__qualname__}): "))
        return step

    def _retry(self, given: dict[str, Any] | int, node: Node, path: Path) -> Retry | None:
        values = given if isinstance(given, dict) else {"attempts": given}
        for key, value in values.items():
            try:
                Retry(**{key: value})
            except InvalidInput as error:
                self._report.add(node.line_of(key), (*path, key), _CALL.sub("", str(error)))
        return None if self._report.has(path) else Retry(**values)
