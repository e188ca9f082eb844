"""Secrets as values, and masking in texts that come in pieces."""

import asyncio
import copy
import pickle
import random
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from awfe import BaseStep, ConfigError, Context, ContextError, InvalidInput
from awfe.domain.delta import Delta
from awfe.domain.encoded import Encoded
from awfe.domain.secret import Revealed, Secret
from awfe.domain.values import decode, encode
from awfe.execution.secrets import Keyring, Secrets


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", 5, None])
def test_a_secret_has_a_name(name: object) -> None:
    with pytest.raises(InvalidInput, match="give a name of 1 to 200 printable characters"):
        Secret(name)  # type: ignore[arg-type]  # what is tested


def test_a_secret_is_saved_as_a_reference_and_comes_back() -> None:
    value = {"a": [Secret("X")], "b": Revealed("the text", Secret("Y"))}
    data = encode(value, "v")
    assert data == b'{"a":[{"$secret":"X"}],"b":{"$secret":"Y"}}'
    assert decode(data) == {"a": [Secret("X")], "b": Secret("Y")}


def test_a_reference_that_somebody_made_of_a_row_has_a_name_too() -> None:
    with pytest.raises(InvalidInput, match="give a name"):
        decode(b'{"a":{"$secret":5}}')


def test_a_text_that_knows_its_secret_hides_it() -> None:
    text = Revealed("hunter2", Secret("X"))
    assert text == "hunter2"
    assert repr([text]) == "[Secret(name='X')]"
    assert pickle.loads(pickle.dumps(text)) == Secret("X")  # noqa: S301 - made here
    assert copy.deepcopy({"a": text})["a"] is copy.copy(text) is text


def test_a_context_without_an_engine_asks_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T_SECRET", "hunter2")
    ctx = Context({"a": {"b": Secret("T_SECRET")}, "none": Secret("T_NONE")})
    assert ctx["a"] == {"b": "hunter2"}
    assert ctx.reveal([1, (Secret("T_SECRET"),)]) == [1, ("hunter2",)]
    with pytest.raises(ConfigError, match="the secret 'T_NONE' is not set"):
        ctx["none"]
    assert not ctx.collect()


@pytest.mark.parametrize(("answer", "problem"), [("abc", "is 3 characters"), ("", "is 0"), (5, "is a int")])
async def test_a_secret_is_long_enough_to_be_masked(answer: str, problem: str) -> None:
    keyring = Keyring(Secrets(lambda _name: answer))
    with pytest.raises(ConfigError, match=f"{problem}.*; it must be a str of 4 at least"):
        keyring.secret(Secret("x"))


def _later(text: str) -> "asyncio.Future[str]":
    answer = asyncio.get_running_loop().create_future()
    answer.set_result(text)
    return answer


async def _at_once(text: str) -> str:
    return text


@pytest.mark.parametrize("answer", [_at_once, _later])
async def test_of_a_function_that_is_async_a_step_gets_only_what_was_there_when_it_began(
    answer: Callable[[str], Awaitable[str]],
) -> None:
    def vault(_name: str) -> Awaitable[str]:
        return answer("hunter2")

    keyring = Keyring(Secrets(vault))
    await keyring.open_for(BaseStep(), Encoded({"a": encode(Secret("x"), "a")}))
    assert keyring.secret(Secret("x")) == "hunter2"
    with pytest.raises(ConfigError, match="it can be read in the next one"):
        keyring.secret(Secret("y"))


def test_it_is_masked_in_the_forms_in_which_it_may_be_printed() -> None:
    secrets = Secrets()
    secrets.note("a'b\"c\\d é/?\n")
    for form in (
        "a'b\"c\\d é/?\n",
        "a'\\''b\"c\\d é/?",
        "a%27b%22c%5Cd%20%C3%A9/%3F",
        "a'b\\\"c\\\\d é/?",
        r"a'b\"c\\d \u00e9/?",
    ):
        assert secrets.mask(f"<{form}>").startswith("<***")
        assert "***" in secrets.mask(f"<{form}>")
        assert "b" not in secrets.mask(form)
    assert Secrets().mask("anything") == "anything"


def test_pieces_of_a_text_hide_what_the_whole_does(seed: int) -> None:
    source = random.Random(seed)  # noqa: S311 - a test, which can be repeated
    texts = ["hunter2", "hunt", "unterwegs", "aaaa", "aaaab", "line one\nline two", "2hun"]
    words = [*texts, "hun", "er2", "aaa", "a", "line one\n", "\n", " ", "x", "2", "hunter", "line", "unter"]
    for _ in range(3000):
        secrets = Secrets()
        known = source.sample(texts, source.randint(1, 4))
        for text in known:
            secrets.note(text)
        whole = "".join(source.choices(words, k=source.randint(0, 12)))
        keyring, passed, at = Keyring(secrets), [], 0
        while at < len(whole):
            size = source.randint(1, 5)
            passed.append(keyring.passed(whole[at : at + size]))
            at += size
        passed.append(keyring.passed("", last=True))
        assert "".join(passed) == secrets.mask(whole), (known, whole)


def test_what_can_not_be_the_beginning_of_a_secret_is_not_held_back() -> None:
    secrets = Secrets()
    secrets.note("hunter2")
    keyring = Keyring(secrets)
    assert keyring.passed("a line\n") == "a line\n"
    assert keyring.passed("a hun") == "a "
    assert keyring.passed("t\n") == "hunt\n"


def test_a_change_with_a_text_in_it_is_refused() -> None:
    secrets = Secrets()
    secrets.note('a "quoted" text\n')
    keyring = Keyring(secrets)
    keyring.refuse_texts(Delta.of({"a": "a quoted text", "b": Secret("x")}))
    for values in ({"a": ['<a "quoted" text\n>']}, {'a "quoted" text\n': 1}):
        with pytest.raises(ContextError, match="holds the text of a secret"):
            keyring.refuse_texts(Delta.of(values))


def test_a_group_of_errors_is_masked() -> None:
    secrets = Secrets()
    secrets.note("hunter2")
    inner = ValueError("no hunter2")
    inner.__cause__ = KeyError("hunter2")
    group = ExceptionGroup("all of hunter2", [inner, OSError(2, "hunter2", "hunter2.txt")])
    hidden = secrets.hide(group)
    info = secrets.described(hidden)
    assert "hunter2" not in info.message + info.traceback
    assert info.type == "ExceptionGroup"
    assert str(inner) == "no ***"


def test_an_error_is_masked_however_it_is_given_to_a_log() -> None:
    secrets = Secrets()
    secrets.note("hunter2")
    for given in (True, sys.exc_info, lambda: sys.exception()):  # noqa: PLW0108 - looked up where there is one
        try:
            raise ValueError("hunter2")  # noqa: EM101, TRY301 - what is logged
        except ValueError:
            options: dict[str, Any] = {"exc_info": given() if callable(given) else given}
            assert secrets.hide_logged("failed", (), options) == ("failed", ())
        assert str(options["exc_info"]) == "***"


def test_of_very_many_texts_the_oldest_are_forgotten() -> None:
    """A program that makes a new secret each second must not grow."""
    secrets = Secrets()
    for number in range(10_001):
        secrets.note(f"secret{number:05}")
    assert secrets.mask("secret00000 secret00001 secret10000") == "secret00000 *** ***"
