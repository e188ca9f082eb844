"""What may stand in a template, and what is put in for it."""

from typing import Any

import pytest

from awfe import Context, ContextError, InvalidInput
from awfe.domain.secret import Secret
from awfe.steps.quoting import Script, encoded, plain_words
from awfe.steps.templates import fill, parse, value_of

CTX = Context(
    {"a": "x y", "n": 5, "f": 1.5, "yes": True, "none": None, "l": ["p q", 2], "d": {"k": ["v"]}, "my-key": 1, "e": []}
)


def filled(template: str) -> str:
    """Return the text of a template."""
    return fill(parse(template, "t"), CTX)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{a}", "x y"),
        ("<{a}{n}>", "<x y5>"),
        ("{{a}}", "{a}"),
        ("{{{a}}}", "{x y}"),
        ("{f} {yes}", "1.5 true"),
        ("{d}", '{"k": ["v"]}'),
        ("{l}", '["p q", 2]'),
        ("{l[1]} {d.k[0]}", "2 v"),
        ("{my-key}", "1"),
    ],
)
def test_values_are_put_in(template: str, text: str) -> None:
    assert filled(template) == text


@pytest.mark.parametrize(
    "template", ["{", "}", "a { b", "{}", "{a!r}", "{a:5}", "{a b}", "{0}", "{a.}", "{a[x]}", "{{a}"]
)
def test_other_braces_are_refused(template: str) -> None:
    with pytest.raises(InvalidInput, match=r"begins or ends no \{name\}; write"):
        parse(template, "t")


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{nope}", "the context has no 'nope'; it has a, d, e"),
        ("{d.no}", "'d' has no 'no'"),
        ("{l[2]}", "'l' has no 2"),
        ("{a[0]}", "'a' has no 0"),
        ("{l.k}", "'l' has no 'k'"),
        ("{none}", "is None"),
        ("x{l}", "let it stand alone"),
    ],
)
def test_what_has_no_text_is_an_error_that_names_the_place(template: str, problem: str) -> None:
    with pytest.raises(ContextError) as caught:
        filled(template)
    assert problem in str(caught.value)


def test_a_place_that_stands_alone_keeps_its_type() -> None:
    def value(template: str) -> Any:
        return value_of(parse(template, "t"), CTX)

    assert (value("{n}"), value("{l}"), value("{none}"), value("{n}!")) == (5, ["p q", 2], None, "5!")


def test_a_secret_is_no_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T_SECRET", "{a} and {nope}")
    assert fill(parse(Secret("T_SECRET"), "t"), CTX) == "{a} and {nope}"
    assert fill(parse(CTX.reveal(Secret("T_SECRET")), "t"), CTX) == "{a} and {nope}"


def test_words_of_a_command_that_no_shell_reads() -> None:
    items = [parse(item, "command") for item in ("cp", "{l}", "{a}", "", "--n={n}", "{e}", "{{}}")]
    assert plain_words(items, CTX) == ["cp", "p q", "2", "x y", "", "--n=5", "{}"]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("echo '{a}'", "inside single quotes"),
        ('echo "{a}"', "inside double quotes"),
        ('echo "a \\" {a}"', "inside double quotes"),
        ("echo `ls {a}`", "inside backticks"),
        ("echo ${{x:-{a}}}", "inside ${…}"),
        ("echo $(({n} + 1))", "inside $((…))"),
        ("echo $((1 + (2 * {n})))", "inside $((…))"),
        ("echo hi # {a}", "in a comment"),
        ("# {a}", "in a comment"),
        ("cat <<EOF\n{a}\nEOF", "after <<"),
        ("cat <<'EOF'\n{a}\nEOF", "after <<"),
        ("echo \\{a}", "after a backslash"),
        ("echo ${a}", "after a $"),
        ("echo \"$(printf '%s' '{a}')\"", "inside single quotes"),
        ('echo "$(echo hi)" "{a}"', "inside double quotes"),
        ("sh -c 'rm {a}'", "inside single quotes"),
        ("echo `echo \\`ls {a}\\``", "inside backticks"),
    ],
)
def test_a_place_where_no_value_is_safe_is_refused(command: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Script.of(command)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "command",
    [
        "echo {a}",
        "echo 'it''s' {a}",
        "echo \\' {a}",
        "echo \\\\{a}",
        "echo a#{a}",
        "echo \"$(printf '%s' {a})\"",
        "echo '# no comment' {a}",
        "echo hi # it's a comment\necho {a}",
        "echo $((1 << 2)) {a}",
        "echo ${{x}} ${{#x}} {a}",
        "case {a} in *) echo {a};; esac",
        "( cd /; echo {a} ) | cat; {{ echo {a}; }}",
        "X={a} sh -c 'echo \"$X\"'",
    ],
)
def test_a_place_outside_of_quotes_is_fine(command: str) -> None:
    Script.of(command)


def test_a_list_in_a_shell_stands_alone() -> None:
    assert Script.of("ls {l};").arguments(CTX)[3:] == ["p q", "2"]
    assert Script.of("ls {e}").arguments(CTX) == ["-c", "ls "]
    for command in ("ls {l}x", "ls ={l}", "ls >{l}"):
        with pytest.raises(ContextError, match="let it stand alone"):
            Script.of(command).arguments(CTX)


def test_a_text_with_a_nul_can_not_be_handed_over() -> None:
    with pytest.raises(ContextError, match="has a NUL"):
        encoded(["a\0b"], "command")
