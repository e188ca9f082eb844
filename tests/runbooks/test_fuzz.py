"""Whatever stands in a file: it is a runbook, or all that is wrong with it is told; nothing else is ever raised."""

import tomllib
from pathlib import Path as File
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from awfe.runbooks import RunbookInvalid, check, load, toml_text, yaml_text
from awfe.runbooks.keys import KINDS, InputKeys, RunbookKeys, names
from awfe.runbooks.nodes import Node
from awfe.runbooks.problems import Path, Report
from tests.runbooks.cases import cases

_KINDS: list[type[Struct]] = [*KINDS.values(), RunbookKeys, InputKeys]
_KEYS = sorted({key for each in _KINDS for key in names(each)} - {"use", "call"})
_WORDS = ["uptime", "{a}", "a", "5m", "yes", "0755", "{a", "}", "10%", "pause", "rerun", "str", "[1, 2]", "1 +", ":b"]
_YAML = [
    *"[]{},:&*!|>%@`\"'#-?\n\t ~<=",
    "\n- ",
    "\n  ",
    ": ",
    "&a ",
    "*a",
    "!!x ",
    "---\n",
    "\\U",
    '"\\ud800"',
    "<<: ",
]
_TOML = [*"[]{},=.\"'#\n\t _-", "\n[", "\n[[", '"""', "'''", " = ", "1979-05-27", "nan", "\\u", "inf", "0x1"]

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(_WORDS)
keys = st.sampled_from(_KEYS) | st.text(max_size=3)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
likely = st.fixed_dictionaries(
    {},
    optional={
        "name": scalars,
        "context": st.dictionaries(st.sampled_from("abc"), values, max_size=3),
        "steps": st.lists(st.dictionaries(st.sampled_from(_KEYS), values, min_size=1, max_size=5), max_size=3),
        "description": scalars,
    },
)
quietly = settings(deadline=None, print_blob=True)
both = settings(quietly, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def snippets(pieces: list[str]) -> st.SearchStrategy[str]:
    """Texts that come near to be some of a language."""
    return st.lists(st.sampled_from([*pieces, *_KEYS, *_WORDS]) | st.text(max_size=4), max_size=25).map("".join)


def flow(value: Any) -> str:
    """Write a value in one line of YAML; texts without quotes."""
    if isinstance(value, list):
        return f"[{', '.join(map(flow, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow(key)}: {flow(item)}" for key, item in value.items()) + "}"
    return str(value)


def try_it(path: File, text: str) -> None:
    """Load it; what `check` finds is what `load` raises."""
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    problems = check(path)
    if problems:
        with pytest.raises(RunbookInvalid) as raised:
            load(path)
        assert list(raised.value.problems) == problems
    else:
        load(path)
    lines = text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + text.count("\u2029") + 1
    assert all(0 <= problem.line <= lines for problem in problems)


@both
@given(st.text() | snippets(_YAML))
@example("&a [*a]")
@example("<<: *a")
@example("? [a]\n: b")
@example('"\\UFFFFFFFF"')
@example("%YAML 9.9\n---\n")
@example("[" * 3000)
@example("- " * 3000)
@example("*a : b")
@example("a: &b\n*b : c")
@example("&a a: *a")
def test_any_text_as_yaml(tmp_path: File, text: str) -> None:
    try_it(tmp_path / "any.yaml", text)


@both
@given(st.text() | snippets(_TOML))
@example("a = " + "{b = " * 3000)
@example("[" * 3000)
@example("a = 1" + "0" * 5000)
@example("a." * 300 + "b = 1")
def test_any_text_as_toml(tmp_path: File, text: str) -> None:
    try_it(tmp_path / "any.toml", text)


@both
@given(likely | values)
def test_what_is_nearly_a_runbook(tmp_path: File, value: Any) -> None:
    try_it(tmp_path / "near.yaml", flow(value))


@both
@given(st.data())
def test_what_was_one_and_was_cut(tmp_path: File, data: st.DataObject) -> None:
    case = data.draw(st.sampled_from([case for _, case in cases()]))
    begin = data.draw(st.integers(0, len(case.text)))
    end = data.draw(st.integers(begin, len(case.text)))
    piece = data.draw(st.sampled_from(["", *_YAML, *_TOML]))
    try_it(tmp_path / f"cut.{case.kind}", case.text[:begin] + piece + case.text[end:])


def places(node: Node, path: Path = ()) -> set[Path]:
    """Return the path of every value."""
    parts: Any
    if isinstance(node.value, list):
        parts = enumerate(node.value)
    elif isinstance(node.value, dict):
        parts = node.value.items()
    else:
        return {path}
    return {path}.union(*(places(part, (*path, key)) for key, part in parts))


@quietly
@given(snippets(_TOML))
@example("a.b = 1\n[c]\n'd.e'.\"f\" = [1, {g = '''\n'''}]\n[[h]]\n[[h.i]]\nj = 1\n[[h.i]]\n[h.i.k]\n[[h]]\n[h.l]\n")
@example("a = [[], [[1], [2]],]\nb = {c = {}, d.e = 1}")
@example('a = """\n" "" \\""" """""\nb = """"""\nc = \'\'\'\'a\'\'\'\'\n')
@example("a = 1979-05-27 07:32:00 # b = 1\r\nc = 1e3")
def test_the_scanner_follows_toml(text: str) -> None:
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError):
        return
    node = toml_text.read(text, Report("any.toml"))
    assert node is not None
    scanned = dict(toml_text._Scanner(text.replace("\r\n", "\n")).places())
    assert scanned.keys() == places(node) - {()}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("Off", "Off"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-0x1F", "-0x1F"),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 17),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1979-05-27", "1979-05-27"),
        ("1.10", 1.1),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("=", "="),
    ],
)
def test_plain_scalars_mean_what_yaml_1_2_says(text: str, value: Any) -> None:
    assert (yaml_text.scalar(text), type(yaml_text.scalar(text))) == (value, type(value))
