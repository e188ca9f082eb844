"""What `Assert` understands, and what it never does."""

import random
import time
from typing import Any

import pytest

from awfe import Context, ContextError, InvalidInput
from awfe.domain.step import save
from awfe.steps import Assert, AssertionFailed, Secret
from awfe.steps.expressions import Expression

VALUES: dict[str, Any] = {
    "n": 5,
    "half": 0.5,
    "text": "prod-1",
    "hosts": ["a", "b", "c"],
    "none": None,
    "yes": True,
    "empty": [],
    "db": {"name": "main", "ports": [1, 2], "my-key": {"deep": 1}},
    "numbers": [3, 1, 2],
}


def worked_out(text: str) -> Any:
    """Return what an expression comes to."""
    return Expression(text).work_out(Context(VALUES))[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("n == 5", True),
        ("n != 5 or yes", True),
        ("1 < n <= 5 < 6", True),
        ("1 < n < 5", False),
        ("not empty and len(hosts) == 3", True),
        ("'a' in hosts and 'x' not in hosts", True),
        ("'rod' in text", True),
        ("none is None", True),
        ("n is not None", True),
        ("yes is True", True),
        ("hosts == ['a', 'b', 'c']", True),
        ("hosts == ('a', 'b', 'c')", True),
        ("db['ports'][1] + n * 2 - -1", 13),
        ("n / 2 + n // 2 + n % 2", 5.5),
        ("hosts[-1] + '!'", "c!"),
        ("{'a': [n]}", {"a": [5]}),
        ("min(numbers) + max(numbers) + sum(numbers) + max(1, 2)", 12),
        ("all([yes, n]) and any([none, yes])", True),
        ("abs(-2) + round(2.6) + round(2.66, 1)", 7.7),
        ("int('5') + float('0.5')", 5.5),
        ("str(n) + str(half) + str(none)", "50.5None"),
        ("startswith(text, 'prod') and endswith(text, '-1')", True),
        ("lower('A') + upper('b') + strip(' c ')", "aBc"),
        ("keys(db)[0] + str(values(db)[1][0])", "name1"),
        ("exists('n') and exists('db.ports[1]') and exists('db.my-key.deep')", True),
        ("exists('nope') or exists('db.nope') or exists('db.ports[2]')", False),
        ("get('db.name') + get('nope', 'x') + str(get('nope'))", "mainxNone"),
        ("nope if False else n", 5),
        ("yes or nope", True),
        ("none and nope", None),
        (" n\n", 5),
    ],
)
def test_an_expression_comes_to_its_value(text: str, value: Any) -> None:
    assert worked_out(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "x" * 1001,
        "n ==",
        "n = 5",
        "n == 5; n",
        "import os",
        "(" * 300 + ")" * 300,
        "-" * 900 + "1",
        "not " * 100 + "n",
        "text.upper()",
        "().__class__",
        "n.real",
        "__import__('os')",
        "eval('1')",
        "open('x')",
        "getattr(n, 'real')",
        "(lambda: 1)()",
        "[x for x in hosts]",
        "{x for x in hosts}",
        "any(x for x in hosts)",
        "f'{n}'",
        "hosts[0:2]",
        "2 ** 10",
        "n << 5",
        "n | 1",
        "n @ 1",
        "~n",
        "b'x'",
        "1j",
        "...",
        "{1, 2}",
        "{**db}",
        "[*hosts]",
        "max(*hosts)",
        "max(hosts, key=len)",
        "hosts[0](1)",
        "len(hosts)()",
        "(n := 5)",
        "await n",
        "yield",
        "n is 5",
        "exists(text)",
        "exists()",
        "exists('a', 'b')",
        "get('a b')",
        "get('a', 1, 2)",
        "print(1)",
        "n\0",
        "\ud800",
    ],
)
def test_what_it_does_not_know_is_refused_when_it_is_made(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^expression="):
        Assert(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nope == 1", "nope: the context has no 'nope'; it has db, empty"),
        ("n < 'a'", "'<' not supported"),
        ("n / 0", "division by zero"),
        ("hosts[3]", "there is no [3]"),
        ("db['x']", "there is no ['x']"),
        ("n['x']", "a dict, a list or a str before [ is needed, not a int"),
        ("hosts['x']", "list indices must be integers"),
        ("text % n", "a number is needed, not a str"),
        ("text * 100000", "a number is needed, not a str"),
        ("hosts * 100000", "a number is needed, not a list"),
        ("n * hosts", "a number is needed, not a list"),
        ("'a' + n", "can only concatenate str"),
        ("*".join(["9" * 90] * 10), "the result is too large"),
        ("round(5, -1000000000)", "round to -1000000000 digits"),
        ("int('x')", "invalid literal"),
        ("str(hosts)", "a str, a number, a bool or None is needed, not a list"),
        ("lower(n)", "a str is needed, not a int"),
        ("keys(hosts)", "a dict is needed, not a list"),
        ("len(n)", "has no len()"),
        ("{hosts: 1}", "unhashable"),
        ("min([])", "empty"),
        ("len()", "takes exactly one argument"),
    ],
)
def test_what_can_not_be_worked_out_is_an_error(text: str, problem: str) -> None:
    with pytest.raises(ContextError) as caught:
        worked_out(text)
    assert problem in str(caught.value)


def test_an_expression_takes_no_longer_than_it_may() -> None:
    many = Context({"a": ["x" * 1000] * 4000 + ["y"]})
    text = " or ".join(["a[0] in a[1:]".replace("a[1:]", "a") + " and 'z' in a"] * 35)
    begun = time.thread_time()
    try:
        Expression(text).work_out(many)
    except ContextError as error:
        assert "it takes too long" in str(error)  # noqa: PT017 - it may be fast enough
    assert time.thread_time() - begun < 5
    grown = Context({"a": "x" * 500_000})
    with pytest.raises(ContextError, match="the result is too large"):
        Expression("len(a + a + a)").work_out(grown)


def test_no_text_does_anything_but_be_refused_or_worked_out(seed: int) -> None:
    source = random.Random(seed)  # noqa: S311 - a test, which can be repeated
    tokens = [
        *("n", "text", "hosts", "db", "none", "nope", "0", "1", "-1", "1e308", "'a'", "''", "True", "None"),
        *("+", "-", "*", "/", "//", "%", "==", "<", "in", "not", "and", "or", "is", "if", "else", ",", ":", ".", "**"),
        *("(", ")", "(", ")", "[", "]", "{", "}", "len(", "min(", "str(", "round(", "get('n')", "exists('db.name')"),
        *("__class__", "lambda", "for", "x"),
    ]
    worked = 0
    for _ in range(5000):
        text = " ".join(source.choices(tokens, k=source.randint(1, 7)))
        try:
            expression = Expression(text)
        except InvalidInput:
            continue
        try:
            expression.work_out(Context(VALUES))
        except ContextError:
            continue
        worked += 1
    assert worked > 50


async def test_a_failure_shows_the_expression_and_what_it_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T_SECRET", "hunter2")
    ctx = Context({**VALUES, "secret": Secret("T_SECRET"), "long": "x" * 1000})
    await Assert("len(hosts) == 3").work(ctx)
    step = Assert("n > 6 and yes or db['name'] == 'x' or get('db.ports[0]') > 1 or secret == long", "not {text}: {n}")
    with pytest.raises(AssertionFailed) as caught:
        await step.work(ctx)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"not prod-1: 5: {step.expression} does not hold"
    assert lines[1:4] == ["  n = 5", f"  db = {VALUES['db']!r}", "  db.ports[0] = 1"]
    assert lines[4] == "  secret = Secret(name='T_SECRET')"
    assert len(lines[5]) == len("  long = ") + 200
    assert "yes" not in str(caught.value)[len(lines[0]) :]


def test_it_is_saved() -> None:
    spec = save(1, Assert("n == 5", "no {n}"))
    assert (spec.impl, spec.load()) == ("awfe.Assert", Assert("n == 5", "no {n}"))
    with pytest.raises(InvalidInput, match="message"):
        Assert("n", "{")
